"""Questions that a page asks of an adapter that answers in words, and the messages its component is told."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.data.pictures import open_picture
from pipelines.errors import ProblemsError
from pipelines.family import Answer, PreviewRequest

from .entries import Entry, sees
from .previews import SPANS, Previews, as_float, as_whole, checked, is_balance
from .text import say

# What a page asks with, in the order of its fields; and besides, about a question it has asked, `balance`.
FIELDS = ("prompt", "span", "adapter", "max_tokens", "temperature", "seed", "picture", "on_marked")
# Seconds between two messages while an answer is said: Gradio takes a tenth of one to hand it to a large page.
_EVERY = 0.25


@dataclass(frozen=True)
class Question:
    """A request, the span of strengths, what each group of layers gets of them, and whether they count for the tokens
    of pictures alone. `adapter` names one that the chosen adapter is compared with; `picture` is the path of what is
    shown with the question. Both may be empty."""

    request: PreviewRequest
    span: str = next(iter(SPANS))
    on_marked: bool = False
    balance: Mapping[str, float] = field(default_factory=dict)
    adapter: str = ""
    picture: str = ""

    @property
    def strengths(self) -> tuple[float, ...]:
        return SPANS[self.span]

    @property
    def manner(self) -> dict[str, Any]:
        """How strengths count, as a session is told."""
        return {"on_marked": self.on_marked, "balance": self.balance}

    def plain(self) -> dict[str, Any]:
        """What `read_question` reads, in JSON types."""
        request = {name: getattr(self.request, name) for name in ("prompt", "max_tokens", "temperature", "seed")}
        own = {name: getattr(self, name) for name in ("span", "on_marked", "adapter", "picture")}
        return {**request, **own, "balance": dict(self.balance)}


def read_question(values: Any, entry: Entry, served: Path) -> Question:
    """What a page asks of an adapter, from its fields or as `Question.plain` told it. Pictures are those that were
    uploaded to `served`. Raises ProblemsError with every problem at once."""
    if not isinstance(values, Mapping):
        raise ProblemsError(say("bad_request"))
    seeing, path, picture = sees(entry), "", b""
    problems: list[str] = []
    try:
        if seeing:
            path, picture = _read_picture(values.get("picture"), served)
    except ProblemsError as error:
        problems.extend(error.problems)
    span, balance, adapter = (values.get(name) for name in ("span", "balance", "adapter"))
    balance = {} if balance is None else balance
    known = span is None or (isinstance(span, str) and span in SPANS)
    if not known or not is_balance(balance) or not isinstance(adapter or "", str):
        problems.append(say("bad_request"))
    request = PreviewRequest(
        prompt=values.get("prompt") or "",
        seed=as_whole(values.get("seed")),
        max_tokens=as_whole(values.get("max_tokens")),
        temperature=as_float(values.get("temperature")),
        picture=picture,
    )
    checked(request, problems, empty="" if picture else "need_question")
    on_marked = seeing and values.get("on_marked") in (True, "marked")
    return Question(request, span or next(iter(SPANS)), on_marked, dict(balance), adapter or "", path)


def _read_picture(value: Any, served: Path) -> tuple[str, bytes]:
    """Path and bytes of an uploaded picture; of none, nothing. Raises ProblemsError when it is no picture."""
    path = value.get("path") if isinstance(value, Mapping) else value
    if path in (None, ""):
        return "", b""
    # A path from outside must never get further than here.
    found = Path(path).resolve() if isinstance(path, str) and "\0" not in path else None
    if found is None or not found.is_relative_to(served) or not found.is_file():
        raise ProblemsError(say("asked_picture_gone"))
    open_picture(found, say("library.picture"))
    return str(found), found.read_bytes()


def recall(previews: Previews, entry: Entry, asked: Question) -> dict[str, Any] | None:
    """The answers if all of them are in the cache: no model is needed for them, nobody waits for it."""
    session = previews.reader(entry)
    request, values, path = asked.request, asked.strengths, entry.path
    if not session.knows_groups(path) or not session.has_answers(path, request, values, **asked.manner):
        return None
    *_, answers = session.answers(path, request, values, **asked.manner)
    return {**_message(entry, asked, answers), "done": True, "groups": session.groups(path)}


def answers(previews: Previews, entry: Entry, asked: Question) -> Iterator[dict[str, Any]]:
    """The answers at all strengths of the span as they are said, the base first; then what comparing strength 0 with
    the base showed."""
    message = recall(previews, entry, asked)
    if message is None:
        if not previews.ready(entry):
            yield {"kind": "wait", "text": say("waiting.load")}
            previews.load(entry)
        session = previews.session(entry)
        said = session.answers(entry.path, asked.request, asked.strengths, **asked.manner)
        for found in _paced(said):
            message = _message(entry, asked, found)
            yield message
        message = {**(message or {}), "done": True, "groups": session.groups(entry.path)}
    yield message
    yield {**message, "zero": asdict(previews.session(entry).at_zero(entry.path, asked.request))}


def exact(previews: Previews, entry: Entry, asked: Question, strength: Any) -> Iterator[dict[str, Any]]:
    """The answer at one strength between two of the span, as it is said. Raises ProblemsError for a strength the
    slider cannot reach."""
    low, high = min(asked.strengths), max(asked.strengths)
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not low <= strength <= high:
        raise ProblemsError(say("bad_request"))
    strength = round(float(strength), 2)
    message: dict[str, Any] = {"kind": "exact", "of": _name(entry, asked), "strength": strength, "done": False}
    said = previews.session(entry).answers(entry.path, asked.request, (strength,), **asked.manner)
    for (answer,) in _paced(said):
        message["answer"] = _plain(answer)
        yield dict(message)
    yield {**message, "done": True}


def _paced(said: Generator[tuple[Answer, ...], None, None]) -> Iterator[tuple[Answer, ...]]:
    """What was said, told no oftener than a page can show it; the last of it always."""
    told, found = 0.0, None
    try:
        for found in said:
            if time.monotonic() - told >= _EVERY:
                yield found
                told, found = time.monotonic(), None
        if found is not None:
            yield found
    finally:
        # Ending it waits for the token that is being computed. Whoever ends this one, because the page was closed or
        # asks something else, may be the event loop of the server, on which nothing may wait.
        threading.Thread(target=said.close, name="end of answer", daemon=True).start()


def _message(entry: Entry, asked: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    return {
        "kind": "answers",
        "of": _name(entry, asked),
        "about": _name(entry, Question(asked.request)),
        "asked": asked.plain(),
        "strengths": list(asked.strengths),
        "answers": [_plain(answer) for answer in answers],
        "done": False,
    }


def _plain(answer: Answer) -> dict[str, Any]:
    return {"tokens": [[piece, round(chance, 4)] for piece, chance in answer.tokens], "ended": answer.ended}


def _name(entry: Entry, asked: Question) -> str:
    """Names a set of answers, so that the page knows what a late one is about."""
    from pipelines.adapters.identity import identity

    picture = hashlib.sha256(asked.request.picture).hexdigest()
    parts = [identity(entry.path), asked.plain() | {"picture": picture}]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
