"""Trying an adapter: a prompt, the ladder of strengths with its slider, its curve, and the files to take home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import gradio as gr

from pipelines.config import RunConfig
from pipelines.data.prompts import suggest_prompt
from pipelines.errors import ProblemsError

from .. import sentences
from ..entries import Entry, Others, Source, none, trained_on
from ..ladder import download_link, ladder
from ..previews import FORMS, SPANS, Asked, export_for_browser, read_asked, read_request, served_path
from ..site import Site
from ..text import say, spoken
from . import QUICK, SLOW
from .grid import Grid
from .layout import Layout, reads_boxes

# What can go wrong while a model is loaded or a picture drawn, beside what is asked for wrongly.
FAULTS = (RuntimeError, OSError, MemoryError)


class Strength:
    """Step 4. `source` says which adapter the browser's state means, `others` what it can be compared with. Two panels
    on one page need different `prefix`es. With `boxes` its pictures are asked for with boxes."""

    def __init__(
        self,
        site: Site,
        who: gr.BrowserState,
        source: Source,
        others: Others = none,
        *,
        prefix: str,
        boxes: bool = False,
    ):
        self.site, self.who, self.source = site, who, source
        with gr.Row(equal_height=False):
            self.prompt = gr.Textbox(
                label=say("prompt"), placeholder=say("prompt_hint"), max_lines=3, scale=5, elem_id=f"{prefix}prompt"
            )
            self.show = gr.Button(
                say("show"),
                variant="primary",
                interactive=False,
                scale=1,
                min_width=90,
                elem_id=f"{prefix}show",
                elem_classes="show-button",
            )
        self.layout = Layout(self, prefix) if boxes else None
        with gr.Accordion(say("preview_settings"), open=False, elem_id=f"{prefix}preview-settings"):
            self.negative = gr.Textbox(label=say("negative_prompt"), max_lines=3)
            with gr.Row():
                self.seed = gr.Number(0, label=say("seed"), min_width=100, elem_id=f"{prefix}preview-seed")
                self.steps = gr.Number(25, label=say("preview_steps"), min_width=100, elem_id=f"{prefix}preview-steps")
                self.guidance = gr.Number(5, label=say("guidance"), step=0.5, min_width=100)
                self.span = gr.Dropdown(list(SPANS), label=say("span"), min_width=120, elem_id=f"{prefix}span")
            if self.layout:
                self.layout.knobs()
        self.problems = gr.HTML("", elem_id=f"{prefix}preview-problems", elem_classes="problems-here")
        self.ladder = ladder(f"{prefix}ladder")
        with gr.Row():
            self.measure = self._button("measure", prefix)
            self.sheet = self._button("contact_sheet", prefix)
        self.grid = Grid(self, others, prefix)
        with gr.Row():
            self.downloads = [self._button(f"download.{name}", prefix) for name in FORMS]
        self.link = download_link(f"{prefix}download-link")
        # In the order in which `read` takes them.
        self.fields = [self.span, self.prompt, self.negative, self.seed, self.steps, self.guidance]
        self.fields += self.layout.fields if self.layout else []
        # What a suggestion fills; what a run that is deleted empties.
        self.made = [self.prompt, *([self.layout.canvas] if self.layout else [])]
        self.shown = self.ladder
        self.outputs = [self.show, self.measure, self.sheet, self.grid.draw, *self.downloads]

    @staticmethod
    def _button(key: str, prefix: str) -> gr.Button:
        name = key.replace(".", "-").replace("_", "-")
        return gr.Button(say(key), interactive=False, min_width=150, elem_id=f"{prefix}{name}")

    def connect(self) -> None:
        """Events of this panel alone."""
        shown: dict[str, Any] = {"outputs": [self.ladder, self.problems], **SLOW, "show_progress": "hidden"}
        asked = [self.who, *self.fields]
        # What is asked for while another picture is drawn comes next, it is not forgotten.
        latest = {**shown, "trigger_mode": "always_last"}
        gr.on(
            [self.show.click, self.prompt.submit],
            spoken(self.recall),
            asked,
            [self.ladder, self.problems],
            **(QUICK | {"trigger_mode": "always_last"}),
        ).then(spoken(self.picture), asked, **latest)
        self.ladder.rest(spoken(self.exact), [self.who], **latest)
        self.ladder.rebalance(spoken(self.again), [self.who], **latest)
        self.measure.click(spoken(self.curve), asked, **shown)
        files = [self.link, self.problems]
        self.sheet.click(spoken(self.contact_sheet), asked, files, show_progress_on=self.sheet, **SLOW)
        for button, name in zip(self.downloads, FORMS, strict=True):
            button.click(spoken(partial(self.download, name)), [self.who], files, show_progress_on=button, **SLOW)
        self.grid.connect()
        if self.layout:
            self.layout.connect()

    def view(self, usable: bool) -> list[Any]:
        """Updates of `outputs`: there is an adapter to try, or not."""
        return [gr.Button(interactive=usable) for _ in self.outputs]

    def suggest(self, state: Any) -> list[Any]:
        """What to try of an adapter that has just been trained, for `made`: a picture of its dataset with boxes, or
        else a prompt like its captions."""
        for sample in self.layout.drawn(state)[:1] if self.layout else ():
            return [sample.caption, [region.to_dict() for region in sample.regions]]
        prompt = ""
        with suppress(ProblemsError):
            entry = self.source(state)
            samples = trained_on(entry)
            if samples:
                trigger = RunConfig.load(entry.home / "run.json").data.trigger_word
                prompt = suggest_prompt([sample.caption for sample in samples], trigger)
        return [prompt, None][: len(self.made)]

    def read(self, entry: Entry, values: Any) -> Asked:
        """What the fields ask for of an adapter. Raises ProblemsError."""
        span, *request = values
        if self.layout and not reads_boxes(entry):
            # What was drawn for another adapter.
            del request[-len(self.layout.fields) :]
        return Asked(read_request(*request), span if span in SPANS else next(iter(SPANS)))

    def recall(self, state: Any, *values: Any) -> list[Any]:
        """The ladder for a prompt if it was drawn before: it does not wait for what is being drawn for others."""

        def look() -> Iterator[dict[str, Any]]:
            entry, asked = self._asked(state, values)
            yield self.site.previews.recall(entry, asked) or {"kind": "wait", "text": say("waiting.turn")}

        return next(self._told(look))

    def picture(self, state: Any, *values: Any) -> Iterator[list[Any]]:
        """The ladder of strengths for a prompt."""
        yield from self._told(lambda: self._draw(*self._asked(state, values)))

    def again(self, state: Any, event: gr.EventData) -> Iterator[list[Any]]:
        """The same ladder with a group of layers at another multiple."""
        yield from self._told(lambda: self._draw(self.source(state), read_asked(event._data)))

    def exact(self, state: Any, event: gr.EventData) -> Iterator[list[Any]]:
        """The picture at the strength where the slider rests."""

        def draw() -> Iterator[dict[str, Any]]:
            entry, asked = self.source(state), read_asked(event._data)
            yield self.site.previews.exact(entry, asked, event._data.get("strength"))

        yield from self._told(draw)

    def curve(self, state: Any, *values: Any) -> Iterator[list[Any]]:
        """Measure the strength curve, keep it with the adapter and draw it beside the ladder."""

        def draw() -> Iterator[dict[str, Any]]:
            entry, asked = self._asked(state, values)
            yield from self._draw(entry, asked)
            yield from self.site.previews.curve(entry, asked)

        yield from self._told(draw)

    def contact_sheet(self, state: Any, *values: Any) -> list[Any]:
        """The ladder of the fields as one picture to keep."""
        try:
            entry, asked = self._asked(state, values)
            path = served_path(entry, "sheet.png", self.site.served)
            path.write_bytes(self.site.previews.sheet([("", entry)], asked))
            return [{"path": str(path), "name": path.name}, ""]
        except (ProblemsError, *FAULTS) as error:
            return [None, self.tell("failed_preview", error)]

    def download(self, name: str, state: Any) -> list[Any]:
        """Write the adapter in one form, prove it, and hand it to the browser."""
        try:
            path = export_for_browser(self.source(state), name, self.site.served)
            return [{"path": str(path), "name": path.name}, ""]
        except (ProblemsError, *FAULTS) as error:
            return [None, self.tell("failed_export", error)]

    def _asked(self, state: Any, values: Any) -> tuple[Entry, Asked]:
        entry = self.source(state)
        return entry, self.read(entry, values)

    def _draw(self, entry: Entry, asked: Asked) -> Iterator[dict[str, Any]]:
        """What the ladder component is told while a ladder is made: what it waits for, the ladder, what it proves."""
        previews = self.site.previews
        if not previews.ready(entry):
            yield {"kind": "wait", "text": say("waiting.load")}
        if not previews.drawn(entry, asked):
            previews.load(entry)
            yield {"kind": "wait", "text": say("waiting.draw", count=len(asked.strengths))}
        yield previews.ladder(entry, asked)
        yield previews.zero(entry, asked)
        yield from previews.adherence(entry, asked)

    def _told(self, draw: Any) -> Iterator[list[Any]]:
        """Messages of the ladder as updates of the page; what goes wrong as sentences."""
        try:
            for message in draw():
                yield [message, ""]
        except (ProblemsError, *FAULTS) as error:
            yield [{"kind": "wait", "text": ""}, self.tell("failed_preview", error)]

    @staticmethod
    def tell(key: str, error: BaseException) -> str:
        """The update of `problems` for an error."""
        if isinstance(error, ProblemsError):
            return sentences.problems(error.problems)
        return sentences.problems([say(key, reason=error or type(error).__name__)])
