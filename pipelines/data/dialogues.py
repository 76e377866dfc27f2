"""Dialogues: what JSON, JSONL and CSV files of questions and answers become. `import_dialogues` reads such files, in
any of the forms that circulate, into a folder; `read_dialogues` reads that folder. Dialogues about pictures stand in
the same files; `picture_dialogues.py` has what they need besides."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import ProblemsError, shown
from ..files import write_text
from .recent import Recent, stamp
from .samples import REPORT, Dataset, read_report, write_report
from .sources import Entry, ImportLimits, Named, Source, open_sources, plain_name

TABLE = "dialogues.jsonl"
FILES = (".json", ".jsonl", ".csv")
LIMITS = ImportLimits(table_bytes=64 * 2**20)
MAX_ROWS = 200_000
MAX_TURN = 100_000
_SHOWN_PROBLEMS = 20
PICTURE = "<image>"
_EXAMPLES = 5
_ADVICE = "give rows with a question and an answer, such as instruction and output, or a list called messages"
_ROLES = {
    "system": "system",
    **dict.fromkeys(("user", "human", "prompter", "question", "instruction"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai", "answer", "output"), "assistant"),
}
_TALKS = ("conversations", "messages", "conversation", "dialogue", "dialog")
_QUESTIONS = ("instruction", "question", "prompt", "query", "user", "human")
_ANSWERS = ("output", "answer", "response", "completion", "assistant", "gpt")
_SPEAKER = re.compile(r"(?:^|\n|(?=###))\s*(?:#{1,3}\s*)?(Human|User|Question|Assistant|AI|Answer)\s*:", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")


@dataclass(frozen=True)
class Turn:
    """What one side said: `role` is system, user or assistant."""

    role: str
    text: str


@dataclass(frozen=True)
class Dialogue:
    """A sample: turns, the last of which is an answer. `name` says where it was found: "faq.jsonl, row 12". Each of
    the `pictures` stands in a turn as PICTURE, in their order. An editor knows a row by its `number`, whatever becomes
    of its words and so of its id."""

    id: str
    name: str
    turns: tuple[Turn, ...]
    pictures: tuple[Path, ...] = ()
    number: int = 0

    @property
    def question(self) -> str:
        """The first thing asked."""
        return next((turn.text for turn in self.turns if turn.role == "user"), "")

    @property
    def learned(self) -> list[Any]:
        return [self.id]

    @cached_property
    def line(self) -> str:
        """What the table of a folder says of it."""
        row: dict[str, Any] = {"name": self.name}
        row["messages"] = [{"role": turn.role, "content": turn.text} for turn in self.turns]
        if self.pictures:
            row["images"] = [path.name for path in self.pictures]
        if self.number:
            row["number"] = self.number
        return json.dumps(row, ensure_ascii=False) + "\n"


class Unread(ValueError):
    """Why a row is no dialogue."""


# The picture files that a row names. Raises Unread for a name that fits none.
Finder = Callable[[Sequence[str]], tuple[Path, ...]]


# Tables of some hundred thousand rows take seconds to read.
_recent: Recent[tuple[Dialogue, ...]] = Recent(MAX_ROWS)


def no_pictures(names: Sequence[str]) -> tuple[Path, ...]:
    """The Finder of those who read text only."""
    if names:
        raise Unread("speaks of a picture, and only text is read")
    return ()


def import_dialogues(
    sources: Sequence[Path | Named], into: Path, *, limits: ImportLimits = LIMITS
) -> Dataset[Dialogue]:
    """Read the dialogues of folders, zip files and single files (any mix) into the folder `into`.

    No dialogue at all is not an error here: the sentences say why. Raises ProblemsError when a source does not exist
    or `into` cannot be written.
    """
    rejected: list[str] = []
    heap = Heap(rejected)
    for source in open_sources(sources, into, limits, rejected, _sort_in):
        for entry in source.tables:
            heap.add(entry, limits, no_pictures)
    dataset = Dataset(tuple(heap.found.values()), tuple(rejected), heap.notes)
    write_dialogues(into, dataset)
    return dataset


def write_dialogues(folder: Path, dataset: Dataset[Dialogue]) -> None:
    """Write the table and the report of a folder, whose pictures are there. Raises ProblemsError."""
    write_report(folder, dataset)
    write_table(folder / TABLE, dataset.samples)


class Heap:
    """Dialogues from many files, each once; what is wrong with rows and files goes to `rejected`."""

    def __init__(self, rejected: list[str]):
        self.found: dict[str, Dialogue] = {}
        self._rejected, self._again = rejected, 0

    def add(self, entry: Entry, limits: ImportLimits, find: Finder) -> None:
        """The dialogues of one file."""
        try:
            rows = _rows(entry, entry.read(limits.table_bytes))
            for dialogue in _dialogues(entry.name, rows, find, self._rejected):
                self._again += dialogue.id in self.found
                self.found.setdefault(dialogue.id, dialogue)
        except ProblemsError as error:
            self._rejected.extend(error.problems)

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a person would want to know."""
        told = f"{self._again} rows are word for word like another one: each is used once"
        return (told,) if self._again else ()


def read_dialogues(folder: Path) -> Dataset[Dialogue]:
    """The dialogues of a folder that `import_dialogues` wrote. Raises ProblemsError, with the reasons, when there is
    none."""
    dataset = stored_dialogues(folder)
    if not dataset.samples:
        raise ProblemsError([f"No dialogue can be used: {_ADVICE}", *dataset.rejected[:_SHOWN_PROBLEMS]])
    return dataset


def stored_dialogues(folder: Path, find: Finder = no_pictures) -> Dataset[Dialogue]:
    """What lies in such a folder; it may have no dialogue. Raises ProblemsError when it is not of that kind."""
    rejected, notes = read_report(folder)
    if not (folder / TABLE).exists() and not (folder / REPORT).exists():
        raise ProblemsError(f"{folder.name} has no {TABLE}: import the dialogues first")
    samples, broken = read_table(folder / TABLE, find)
    return Dataset(samples, (*rejected, *broken), tuple(notes))


def write_table(table: Path, dialogues: Sequence[Dialogue]) -> None:
    """Write dialogues as a folder keeps them. Raises ProblemsError."""
    write_text(table, "".join(dialogue.line for dialogue in dialogues))


def remember_table(table: Path, dialogues: Sequence[Dialogue]) -> None:
    """Tell what a table that was just written holds, so that nobody needs to read it."""
    _recent.put(table, stamp(table), (*dialogues,))


def read_table(table: Path, find: Finder) -> tuple[tuple[Dialogue, ...], list[str]]:
    """The dialogues of a table, none where there is no such file, and a sentence for each line that has none. Raises
    ProblemsError when it cannot be read."""
    found: dict[str, Dialogue] = {}
    rejected: list[str] = []
    try:
        known = _recent.get(table)
        if known is not None:
            return known, []
        then, lines = stamp(table), table.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return (), []
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemsError(f"{TABLE} in {table.parent.name} cannot be read: import the dialogues again") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            dialogue = read_row(str(values["name"]) or f"line {number}", values, find)
            if type(values.get("number")) is int:
                dialogue = replace(dialogue, number=values["number"])
        except (ValueError, TypeError, KeyError, RecursionError):
            rejected.append(f"{TABLE}, line {number} is no dialogue of this data set: import the dialogues again")
            continue
        found.setdefault(dialogue.id, dialogue)
    dialogues = tuple(found.values())
    if not rejected:
        _recent.put(table, then, dialogues)
    return dialogues, rejected


def read_row(name: str, row: Any, find: Finder) -> Dialogue:
    """The dialogue of one row. Raises ValueError with the reason when it is none."""
    turns = read_turns(row)
    pictures = find(_named_pictures(row))
    marks = sum(turn.text.count(PICTURE) for turn in turns if turn.role == "user")
    if any(PICTURE in turn.text for turn in turns if turn.role != "user"):
        raise Unread(f"has {PICTURE} in a turn that is not the user's")
    if pictures and not marks:
        first = next(i for i, turn in enumerate(turns) if turn.role == "user")
        shown = (PICTURE + "\n") * len(pictures) + turns[first].text
        turns = (*turns[:first], Turn("user", shown), *turns[first + 1 :])
    elif marks and not pictures:
        raise Unread("speaks of a picture and names none")
    elif marks != len(pictures):
        raise Unread(f"has {marks} times {PICTURE} for {len(pictures)} pictures")
    told = json.dumps([[turn.role, turn.text] for turn in turns] + [path.stem for path in pictures], ensure_ascii=False)
    return Dialogue(hashlib.sha256(told.encode()).hexdigest()[:16], plain_name(name), turns, pictures)


def _named_pictures(row: Mapping[str, Any]) -> list[str]:
    """LLaVA's `image`, or `images` where there are several."""
    named = row.get("images") or row.get("image") or []
    named = named if isinstance(named, list) else [named]
    if not all(isinstance(name, str) for name in named):
        raise Unread(f"names the pictures {shown(named)}, must be the names of files")
    return named


def read_turns(row: Any) -> tuple[Turn, ...]:
    """The turns of one row, in whichever of the usual forms it is. Raises ValueError with the reason when it has no
    question with an answer."""
    if not isinstance(row, dict):
        raise Unread(f"is {shown(row)}, not an object with a question and an answer")
    row = {str(key).strip().lower(): value for key, value in row.items()}
    talk = next((row[name] for name in _TALKS if row.get(name)), None)
    said = _of_talk(talk) if talk is not None else _of_fields(row)
    turns: list[Turn] = []
    for role, text in said:
        text = plain(text)
        if turns and turns[-1].role == role:
            turns[-1] = Turn(role, f"{turns[-1].text}\n{text}".strip())
        elif turns or role != "assistant":  # Some files begin with a greeting that answers nothing.
            turns.append(Turn(role, text))
    while turns and (turns[-1].role != "assistant" or not turns[-1].text):
        turns.pop()
    system = plain(row.get("system") or "")
    if system and turns and turns[0].role != "system":
        turns.insert(0, Turn("system", system))
    _check(turns)
    return tuple(turn for turn in turns if turn.text)


def plain(text: Any) -> str:
    """Text as it was written, with one kind of line break and nothing that cannot be printed."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise Unread(f"has {shown(text)} where text was expected")
    whole = str(text).encode("utf-8", "ignore").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    kept = _CONTROL.sub("", whole)
    if len(whole) - len(kept) > max(2, len(whole) // 20):
        raise Unread("holds binary data")
    return kept.strip()


def _check(turns: Sequence[Turn]) -> None:
    if not turns:
        raise Unread("has no answer")
    for turn, following in itertools.pairwise(turns):
        if turn.role == "user" and not turn.text and following.role == "assistant":
            raise Unread("has no question")
        if turn.role == "assistant" and not turn.text:
            raise Unread("has an answer without words")
    if not any(turn.role == "user" for turn in turns):
        raise Unread("has no question")
    if any(turn.role == "system" for turn in turns[1:]):
        raise Unread("has a turn of the system in the middle, which most chat templates have no place for")
    if any(len(turn.text) > MAX_TURN for turn in turns):
        raise Unread(f"has a turn of more than {MAX_TURN:,} characters")


def _of_talk(talk: Any) -> Iterator[tuple[str, Any]]:
    """ShareGPT (`from`, `value`) and OpenAI (`role`, `content`) turns."""
    if not isinstance(talk, list):
        raise Unread(f"has the turns {shown(talk)}, must be a list")
    for turn in talk:
        if not isinstance(turn, dict):
            raise Unread(f"has the turn {shown(turn)}, must be an object with role and content")
        who = turn.get("role", turn.get("from"))
        text = turn.get("content", turn.get("value"))
        role = _ROLES.get(who.strip().lower()) if isinstance(who, str) else None
        if role is None:
            raise Unread(f"has a turn of {shown(who)}; read are system, user and assistant")
        if isinstance(text, list):  # OpenAI's parts
            text = "\n".join(str(part.get("text") or PICTURE) for part in text if isinstance(part, dict))
        yield role, "" if text is None else text


def _of_fields(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Alpaca (`instruction`, `input`, `output`, `history`), pairs under the other usual names, and `text` with the
    names of the speakers in it."""
    asked = next((name for name in _QUESTIONS if row.get(name) not in (None, "")), "")
    answer = next((row[name] for name in _ANSWERS if row.get(name) not in (None, "")), "")
    if not asked and not answer and isinstance(row.get("text"), str):
        yield from _of_text(row["text"])
        return
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise Unread("has a history that is not a list of pairs of question and answer")
    for question, reply in history:
        yield from (("user", question), ("assistant", reply))
    question, more = row.get(asked, ""), row.get("input")
    yield "user", f"{plain(question)}\n{plain(more)}" if more not in (None, "") else question
    yield "assistant", answer


def _of_text(text: str) -> Iterator[tuple[str, str]]:
    pieces = _SPEAKER.split(text)
    yield "system", pieces[0]
    for who, said in zip(pieces[1::2], pieces[2::2], strict=True):
        yield "user" if who.lower() in ("human", "user", "question") else "assistant", said


def _dialogues(name: str, rows: Iterator[tuple[str, Any]], find: Finder, rejected: list[str]) -> Iterator[Dialogue]:
    """The dialogues of a file; what its other rows lack goes to `rejected`, the first rows of each kind by name."""
    problems: dict[str, list[str]] = {}
    for number, (where, row) in enumerate(rows):
        if number == MAX_ROWS:
            rejected.append(f"{name} was not read to its end: at most {MAX_ROWS:,} rows are read, split the file")
            break
        try:
            if isinstance(row, Unread):
                raise row
            yield read_row(f"{name}, {where}", row, find)
        except Unread as reason:
            problems.setdefault(str(reason), []).append(where)
    for said, places in problems.items():
        rejected.extend(f"{name}, {where} {said}: it is left out" for where in places[:_EXAMPLES])
        if len(places) > _EXAMPLES:
            rejected.append(f"{name}: {len(places) - _EXAMPLES} more rows are left out; each {said}")


def _rows(entry: Entry, data: bytes) -> Iterator[tuple[str, Any]]:
    """Where each row stands, and the row; an Unread in its place when it cannot be read. Raises ProblemsError when
    that holds for the whole file."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ProblemsError(f"{entry.name} is not text in UTF-8: save it as UTF-8")
    if entry.suffix == ".csv":
        return _csv_rows(entry.name, text)
    return _lines(text) if entry.suffix == ".jsonl" else _json_rows(entry.name, text)


def _lines(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            yield f"line {number}", Unread(f"is not JSON ({_said(error)})")


def _json_rows(name: str, text: str) -> Iterator[tuple[str, Any]]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        first = text.lstrip()[:1]
        if first == "{" and isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _lines(text)  # One object a line, under the wrong ending.
            return
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ProblemsError(f"{name}{place} is not JSON ({_said(error)}): mend the file") from None
    if isinstance(values, dict):  # {"data": [...]}, or a single row
        values = next((value for key, value in values.items() if key in ("data", "train", "rows")), [values])
    if not isinstance(values, list):
        raise ProblemsError(f"{name} holds {shown(values)}, must be a list of rows: {_ADVICE}")
    for number, row in enumerate(values, 1):
        yield f"row {number}", row


def _csv_rows(name: str, text: str) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        heads = {str(head).strip().lower() for head in reader.fieldnames or ()}
        if not heads & {*_QUESTIONS, "input", "text"}:
            raise ProblemsError(f"{name} has the columns {', '.join(sorted(heads))[:200] or 'none'}: {_ADVICE}")
        for number, row in enumerate(reader, 2):
            yield f"row {number}", {head: value for head, value in row.items() if isinstance(value, str)}
    except csv.Error as error:
        raise ProblemsError(f"{name}, line {reader.line_num} is not CSV ({error}): save the table again") from None


def _said(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _sort_in(source: Source, entry: Entry, rejected: list[str]) -> None:
    if entry.suffix in FILES:
        source.tables.append(entry)
    else:
        what = f"a {entry.suffix} file" if entry.suffix else "a file without an ending"
        rejected.append(f"{entry.name} is {what}: give dialogues as JSON, JSONL or CSV, or a zip file of those")
