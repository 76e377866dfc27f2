"""Trying an adapter that answers in words: a question, the answers at several strengths, and the files to take home."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import gradio as gr

from pipelines.config import RunConfig
from pipelines.data.batches import split_validation
from pipelines.data.dialogues import PICTURE, Dialogue
from pipelines.data.readers import READERS
from pipelines.errors import ProblemsError
from pipelines.registry import FAMILIES, family_class

from .. import questions, sentences
from ..answers import answers
from ..entries import Entry, Others, Source, none, sees
from ..ladder import download_link
from ..picture import picture
from ..previews import SPANS, export_for_browser
from ..questions import FIELDS, Question, read_question
from ..site import Site
from ..text import say, spoken
from . import QUICK, SLOW
from .strength import FAULTS, Strength

_HELD = json.dumps({"kind": "wait", "text": ""})


class Answers:
    """Step 4 of families that answer. `source` says which adapter the browser's state means, `others` what it can be
    compared with. Two panels on one page need different `prefix`es. With `pictures` questions may be about one."""

    def __init__(
        self,
        site: Site,
        who: gr.BrowserState,
        source: Source,
        others: Others = none,
        *,
        prefix: str,
        pictures: bool = False,
    ):
        self.site, self.who, self.source, self.others, self.prefix = site, who, source, others, prefix
        self.seeing = picture(f"{prefix}picture") if pictures else None
        with gr.Row(equal_height=False):
            self.question = gr.Textbox(
                label=say("question"), placeholder=say("question_hint"), max_lines=8, scale=5, elem_id=f"{prefix}prompt"
            )
            self.show = gr.Button(
                say("ask"), variant="primary", interactive=False, scale=1, min_width=90, elem_id=f"{prefix}show",
                elem_classes="show-button",
            )  # fmt: skip
        self.manner = self._manner() if pictures else None
        with gr.Accordion(say("answer_settings"), open=False, elem_id=f"{prefix}preview-settings"):
            knobs = self._knobs()
        self.problems = gr.HTML("", elem_id=f"{prefix}preview-problems", elem_classes="problems-here")
        self.shown = answers(f"{prefix}answers")
        offered = forms(pictures)
        with gr.Row():
            self.downloads = {form: self._download(form, form in offered) for form in forms(None)}
        self.note = gr.Markdown(say("merged_note"), visible=pictures, elem_classes="quiet")
        self.link = download_link(f"{prefix}download-link")
        # In the order of FIELDS, as far as there are any.
        self.fields = [self.question, *knobs, *([self.seeing, self.manner] if pictures else [])]
        self.made = [self.question, *([self.seeing] if pictures else [])]
        self.outputs = [self.show, *self.downloads.values()]
        # By page, what it has asked last and is still being told.
        self._wanted: dict[str | None, Any] = {}

    def _manner(self) -> gr.Radio:
        return gr.Radio(
            [(say("on_all"), "all"), (say("on_marked"), "marked")], value="all", label=say("strength_for"),
            info=say("strength_for_help"), elem_id=f"{self.prefix}strength-for",
        )  # fmt: skip

    def _knobs(self) -> list[Any]:
        prefix = self.prefix
        with gr.Row():
            span = gr.Dropdown(list(SPANS), label=say("span"), min_width=120, elem_id=f"{prefix}span")
            # Filled when it is opened; which names there are is only known to the server, which checks them.
            self.adapter = gr.Dropdown(
                [(say("adapter_now"), "")], value="", label=say("asked_adapter"), allow_custom_value=True,
                min_width=120, elem_id=f"{prefix}adapter",
            )  # fmt: skip
        with gr.Row():
            tokens = gr.Number(128, label=say("max_tokens"), min_width=100, elem_id=f"{prefix}max-tokens")
            temperature = gr.Number(
                0, label=say("temperature"), info=say("temperature_help"), step=0.1, min_width=140,
                elem_id=f"{prefix}temperature",
            )  # fmt: skip
            seed = gr.Number(0, label=say("seed"), min_width=100, elem_id=f"{prefix}preview-seed")
        return [span, self.adapter, tokens, temperature, seed]

    def _download(self, form: str, there: bool) -> gr.Button:
        return gr.Button(
            say(f"take.{form}"), interactive=False, visible=there, min_width=150,
            elem_id=f"{self.prefix}download-{form}",
        )  # fmt: skip

    def connect(self) -> None:
        """Events of this panel alone."""
        asked, told = [self.who, *self.fields], [self.shown, self.problems]
        latest: dict[str, Any] = {**SLOW, "show_progress": "hidden", "trigger_mode": "always_last"}
        begins = [self.show.click, self.question.submit]
        first = gr.on(begins, spoken(self.recall), asked, told, **(QUICK | {"trigger_mode": "always_last"}))
        first.then(spoken(self.ask), asked, told, **latest)
        self.shown.rest(spoken(self.exact), [self.who], told, **latest)
        self.shown.rebalance(spoken(self.again), [self.who], told, **latest)
        self.shown.stop(spoken(self.hush), None, None, **QUICK)
        self.adapter.focus(spoken(self.offer), [self.who, self.adapter], [self.adapter], **QUICK)
        files = [self.link, self.problems]
        for form, button in self.downloads.items():
            button.click(spoken(partial(self.download, form)), [self.who], files, show_progress_on=button, **SLOW)

    def view(self, usable: bool) -> list[Any]:
        """Updates of `outputs`: there is an adapter to try, or not."""
        return [gr.Button(interactive=usable) for _ in self.outputs]

    @property
    def parts(self) -> list[Any]:
        """What `narrow` updates."""
        return [self.seeing, self.manner, self.note, *self.downloads.values()]

    def narrow(self, entry: Entry | None) -> list[Any]:
        """Updates of `parts`, where adapters of every family that answers are tried: what there is for one of them."""
        pictures = entry is not None and sees(entry)
        offered = family_class(entry.family).forms if entry else ()
        updates = [gr.HTML(visible=pictures), gr.Radio(visible=pictures), gr.Markdown(visible=pictures)]
        return [*updates, *(gr.Button(visible=form in offered) for form in self.downloads)]

    def suggest(self, state: Any) -> list[Any]:
        """What to ask an adapter that has just been trained, for `made`: what one of its samples asks that it has not
        learned, and the picture of that sample."""
        question, shown = "", None
        with suppress(ProblemsError, OSError):
            entry = self.source(state)
            sample = _unlearned(entry)
            question = sample.question.replace(PICTURE, "").strip()
            if sample.pictures and self.seeing:
                target = self.site.served / entry.home.name / sample.pictures[0].name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(sample.pictures[0], target)
                shown = {"path": str(target), "name": sample.name}
        return [question, shown][: len(self.made)]

    def offer(self, state: Any, chosen: Any) -> Any:
        """The adapters that can be asked: the chosen one, and what it is compared with."""
        names: list[str] = []
        with suppress(ProblemsError, *FAULTS):
            names = [name for name, _ in self.others(state)]
        return gr.Dropdown([(say("adapter_now"), ""), *((name, name) for name in names)], value=chosen or "")

    def recall(self, request: gr.Request, state: Any, *values: Any) -> list[Any]:
        """The answers if they were given before: they do not wait for what is being answered to others. What this page
        has asked earlier is not wanted any more."""
        self._wanted[request.session_hash] = values

        def look() -> Iterator[dict[str, Any]]:
            message = questions.recall(self.site.previews, *self._asked(state, dict(zip(FIELDS, values, strict=False))))
            yield message or {"kind": "wait", "text": say("waiting.answer_turn")}

        return next(self._told(look))

    def ask(self, request: gr.Request, state: Any, *values: Any) -> Iterator[list[Any]]:
        """The answers to a question at several strengths, as they are said."""
        told = self._told(lambda: self._answered(state, dict(zip(FIELDS, values, strict=False))))
        yield from self._while_wanted(request, values, told)

    def again(self, request: gr.Request, state: Any, event: gr.EventData) -> Iterator[list[Any]]:
        """The same question with a group of layers at another multiple."""
        told = self._told(lambda: self._answered(state, _sent(event).get("asked")))
        yield from self._while_wanted(request, self._wanted.setdefault(request.session_hash, ()), told)

    def exact(self, request: gr.Request, state: Any, event: gr.EventData) -> Iterator[list[Any]]:
        """The answer at the strength where the slider rests."""

        def say_it() -> Iterator[dict[str, Any]]:
            sent = _sent(event)
            entry, asked = self._asked(state, sent.get("asked"))
            yield from questions.exact(self.site.previews, entry, asked, sent.get("strength"))

        yield from self._while_wanted(request, self._wanted.setdefault(request.session_hash, ()), self._told(say_it))

    def hush(self, request: gr.Request) -> None:
        """What is being said to this page is not wanted any more."""
        self._wanted.pop(request.session_hash, None)

    def _while_wanted(self, request: gr.Request, wanted: Any, told: Iterator[list[Any]]) -> Iterator[list[Any]]:
        """Updates of the page until it asks something else: nobody waits for the end of what nobody reads. (Gradio's
        own `cancels` would also end what is asked next.)"""
        page = request.session_hash
        try:
            for update in told:
                yield update
                if self._wanted.get(page) != wanted:
                    yield [_HELD, gr.skip()]
                    return
        finally:
            if self._wanted.get(page) == wanted:
                self._wanted.pop(page, None)

    def download(self, form: str, state: Any) -> list[Any]:
        """Write the adapter in one form, prove it, and hand it to the browser."""
        try:
            path = export_for_browser(self.source(state), form, self.site.served)
            return [{"path": str(path), "name": path.name}, ""]
        except (ProblemsError, *FAULTS) as error:
            return [None, Strength.tell("failed_export", error)]

    def _answered(self, state: Any, values: Any) -> Iterator[dict[str, Any]]:
        yield from questions.answers(self.site.previews, *self._asked(state, values))

    def _asked(self, state: Any, values: Any) -> tuple[Entry, Question]:
        """The adapter that is asked, and what. Raises ProblemsError."""
        own = self.source(state)
        asked = read_question(values, own, self.site.served)
        if not asked.adapter:
            return own, asked
        found = dict(self.others(state)).get(asked.adapter)
        if found is None:
            raise ProblemsError(say("grid_unknown", name=asked.adapter))
        return found, asked

    @staticmethod
    def _told(say_it: Callable[[], Iterator[dict[str, Any]]]) -> Iterator[list[Any]]:
        """Messages of the component as updates of the page; what goes wrong as sentences."""
        try:
            for message in say_it():
                yield [json.dumps(message, ensure_ascii=False), ""]
        except ProblemsError as error:
            yield [_HELD, sentences.problems(error.problems)]
        except FAULTS as error:
            yield [_HELD, sentences.problems([say("failed_answer", reason=error or type(error).__name__)])]


def forms(pictures: bool | None) -> list[str]:
    """The forms in which adapters leave that answer: with `pictures` about some, without it not, None: all of them."""
    kinds = [family_class(name) for name in FAMILIES]
    chosen = [kind for kind in kinds if kind.answers and pictures in (None, "picture" in kind.reads)]
    # What is largest comes last.
    return sorted({form for kind in chosen for form in kind.forms}, key=lambda form: (form == "merged", form))


def _sent(event: gr.EventData) -> dict[str, Any]:
    """What came with an event of the component."""
    return event._data if isinstance(event._data, dict) else {}


def _unlearned(entry: Entry) -> Dialogue:
    """A sample of a run that was held out, or any; with a picture if one has. Raises ProblemsError."""
    if entry.dataset is None:
        raise ProblemsError(say("no_dataset"))
    config = RunConfig.load(entry.home / "run.json")
    samples = READERS[family_class(config.family).reads].read(entry.dataset, config.data).samples
    ids = [sample.id for sample in samples]
    _, held_out = split_validation(ids, config.data.validation_percent, config.train.seed)
    first: Dialogue = max([samples[i] for i in held_out] or samples, key=lambda sample: len(sample.pictures) == 1)
    return first
