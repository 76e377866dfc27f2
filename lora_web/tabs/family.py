"""The tab of a family: samples -> settings -> training -> strength."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from gradio.context import Context

from pipelines.errors import ProblemsError
from pipelines.registry import family_class

from ..datasets import desk_of, need_of
from ..entries import Entry, checkpoints_of, of_run
from ..panels import QUICK, confirmed
from ..panels.answers import Answers
from ..panels.pictures import Pictures
from ..panels.rows import Dialogues, PictureDialogues
from ..panels.settings import Settings
from ..panels.strength import Strength
from ..panels.training import Training
from ..site import Site
from ..slots import FIRST, SLOTS, WATCHED, Slot, slot_of
from ..text import say, spoken

# What a person brings, by the kind of samples a family reads.
SAMPLES: dict[str, type[Pictures | Dialogues]] = {
    "pictures": Pictures,
    "dialogues": Dialogues,
    "pictures with dialogues": PictureDialogues,
}


class FamilyTab:
    """The panels and what goes on between them. A handler gets the browser's state first and believes none of it
    (`Site.who`)."""

    def __init__(self, site: Site, family: str, example: str):
        self.site, self.slot, self.example = site, Slot(family), example

    def build(self, who: gr.BrowserState, demo: gr.Blocks) -> None:
        """Lay out the tab and connect it."""
        self.who, slot = who, self.slot
        tab = Context.block
        assert isinstance(tab, gr.Tab) and isinstance(tab.parent, gr.Tabs)
        self.tabs = tab.parent
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self.samples = SAMPLES[family_class(slot.family).reads](self.site, slot, self.example)
                self.settings = Settings(self.site, who, slot)
            with gr.Column(scale=6, min_width=320):
                self.training = Training(self.site, slot)
                gr.Markdown(f"## {say('preview')}")
                self.strength = self._trial()
        # The run whose adapter can be tried: when it changes, the ladder comes by itself.
        self.ready = gr.Textbox("", visible="hidden", elem_id=f"{slot.prefix}ready")
        self.suggested = gr.JSON(None, visible="hidden")
        # Everything that changes with the run the page watches.
        self.run = [*self.training.outputs, self.settings.train, *self.strength.outputs, self.ready]
        self._connect()
        everything = [who, *self.samples.outputs, *self.run, *self.settings.components, self.settings.past]
        if slot.family == FIRST:
            arrived = demo.load(spoken(self.arrive), [who], [self.tabs, *everything], **QUICK)
            arrived.then(None, [who], js="loraWeb.setUrl").then(**self.settings.look_again)
        else:
            # Nobody waits for a tab that is not looked at. It is read once: what is written in it then stays.
            opened = gr.State(False)
            tab.select(spoken(self.open), [who, opened], [opened, *everything], **QUICK).then(
                **self.settings.look_again
            )

    def _trial(self) -> Strength | Answers:
        """Where the adapter is tried: by what the family makes of a prompt."""
        kind, prefix = family_class(self.slot.family), self.slot.prefix
        if kind.answers:
            pictures = kind.reads == "pictures with dialogues"
            return Answers(self.site, self.who, self.watched, self.checkpoints, prefix=prefix, pictures=pictures)
        return Strength(self.site, self.who, self.watched, self.checkpoints, prefix=prefix, boxes=kind.reads_regions)

    def _connect(self) -> None:
        self.samples.connect(self.settings)
        self.settings.connect(self.samples.saved)
        self.strength.connect()
        training, settings = self.training, self.settings
        set_url: dict[str, Any] = {"fn": None, "inputs": [self.who], "js": "loraWeb.setUrl"}
        form = [self.who, *settings.components]
        settings.train.click(
            spoken(self.start), form, [self.who, *settings.marked, *self.run], js="loraWeb.flush", **QUICK
        ).then(**set_url).then(spoken(settings.past_runs), [self.who], [settings.past], **QUICK)
        made = self.strength.made
        self.ready.change(spoken(self.strength.suggest), [self.who], [self.suggested], **QUICK).then(
            fn=None, inputs=[self.suggested, *made], outputs=made, js="loraWeb.keep"
        ).then(fn=None, js=f"() => loraWeb.pressShow({json.dumps(self.slot.prefix)})")
        training.timer.tick(spoken(self.watch), [self.who, training.seen], self.run, **QUICK)
        training.sample.click(spoken(self.sample), [self.who], [settings.problems, *self.run], **QUICK)
        training.stop.click(spoken(self.stop_and_keep), [self.who], [settings.problems, *self.run], **QUICK)
        training.resume.click(spoken(self.go_on), [self.who], [settings.problems, *self.run], **QUICK)
        changed = [self.who, self.strength.shown, *self.run]
        gone = training.discard.click(spoken(self.throw_away), [self.who], changed, **confirmed("discard_sure"))
        gone.then(**set_url)

    def watched(self, state: Any) -> Entry:
        """The adapter of the run a page watches. Raises ProblemsError when there is none."""
        visitor, who = self.site.who(state)
        run = visitor.run(who.get(self.slot.run))
        if run is None:
            raise ProblemsError(say("need_adapter"))
        return of_run(run)

    def checkpoints(self, state: Any) -> Iterator[tuple[str, Entry]]:
        """What the run's adapter can be compared with: itself at earlier steps."""
        yield from checkpoints_of(self.watched(state).home)

    def arrive(self, state: Any, request: gr.Request) -> list[Any]:
        """A page was opened: what this browser had, in the tab that watches the run which its address names, or which
        was watched last."""
        visitor, who = self.site.who(state)
        asked = visitor.run(request.query_params.get("run"))
        named = slot_of(asked) if asked else None
        if asked and named:
            named.watch(who, asked.name)
        looked_at = next((slot for slot in SLOTS if slot.run == who.get(WATCHED) and slot.run in who), self.slot)
        # A family that is reached by other ways only has no tab.
        tabs = {tab.id for tab in self.tabs.children if isinstance(tab, gr.Tab)} - {self.slot.family}
        shown = gr.Tabs(selected=looked_at.family) if looked_at.family in tabs else gr.skip()
        return [shown, *self._restore(who)]

    def open(self, state: Any, opened: Any) -> list[Any]:
        """The tab was opened: what this browser had in it, the first time."""
        _, who = self.site.who(state)
        restored = self._restore(who)
        return [True, *(restored if not opened else [gr.skip()] * len(restored))]

    def _restore(self, who: dict[str, Any]) -> list[Any]:
        """Updates of everything there is in the tab."""
        visitor, _ = self.site.who(who)
        try:
            config = self.settings.show(visitor.run(who.get(self.slot.run)))
        except ProblemsError:
            del who[self.slot.run]
            config = self.settings.show(None)
        samples = self.samples.view(who)
        return [who, *samples, *self._view(who), *config, self.settings.past_runs(who)]

    def start(self, state: Any, *values: Any) -> list[Any]:
        """Train on the pictures with the settings of the form."""
        visitor, who = self.site.who(state)
        try:
            found: list[str] = []
            desk = desk_of(visitor, who[self.slot.dataset], self.slot.family) if self.slot.dataset in who else None
            if desk is None or desk.empty:
                found.append(say(need_of(self.slot.family)))
            if isinstance(state, Mapping) and state.get("unsaved"):
                found.append(say("unsaved"))
            try:
                config = self.settings.read(values)
            except ProblemsError as error:
                found.extend(error.problems)
            if not found and desk:
                found.extend(self.settings.preflight.problems(config, desk.folder))
            if found or desk is None:
                raise ProblemsError(found)
            self.site.measures.cancel()
            with desk.alone():
                self.slot.watch(who, self.site.start(visitor, config, desk.folder))
        except ProblemsError as error:
            return [who, *self.settings.mark(error.problems), *self._view(who)]
        return [who, *self.settings.mark(()), *self._view(who)]

    def watch(self, state: Any, seen: Any) -> list[Any]:
        """The timer: what is new in the run, or nothing."""
        if not state:
            # The page does not know yet who it belongs to.
            return [gr.skip()] * len(self.run)
        _, who = self.site.who(state)
        return self._view(who, seen)

    def stop_and_keep(self, state: Any) -> list[Any]:
        """Stop after the current step and save the adapter."""
        visitor, who = self.site.who(state)
        run = visitor.run(who.get(self.slot.run))
        if run:
            self.site.supervisor.stop(run)
        return ["", *self._view(who)]

    def sample(self, state: Any) -> list[Any]:
        """Preview pictures after the current step."""
        visitor, who = self.site.who(state)
        run = visitor.run(who.get(self.slot.run))
        if run:
            self.site.supervisor.sample(run)
        return ["", *self._view(who)]

    def go_on(self, state: Any) -> list[Any]:
        """Resume a run that ended early."""
        visitor, who = self.site.who(state)
        run = visitor.run(who.get(self.slot.run))
        said: tuple[str, ...] = ()
        if run:
            try:
                self.site.resume(visitor, run)
            except ProblemsError as error:
                said = error.problems
        return [self.settings.tell(said), *self._view(who)]

    def throw_away(self, state: Any) -> list[Any]:
        """Delete the run. A person who said no sends nothing: nothing changes."""
        if not state:
            return [gr.skip()] * (2 + len(self.run))
        visitor, who = self.site.who(state)
        run = visitor.run(who.pop(self.slot.run, None))
        if run:
            self.site.supervisor.discard(run)
        return [who, None, *self._view(who)]

    def _view(self, who: dict[str, Any], seen: Any = None) -> list[Any]:
        """Updates of `run`; "skip" for what is not new since `seen`."""
        found = self.training.found(who)
        usable = found is not None and found.adapter is not None
        updates, ready = self.training.view(who, found, seen), who.get(self.slot.run, "") if usable else ""
        if isinstance(seen, dict) and seen.get("usable") == usable:
            return [*updates, *[gr.skip()] * (1 + len(self.strength.outputs)), ready]
        return [*updates, gr.Button(interactive=True), *self.strength.view(usable), ready]


def family_tab(family: str, example: str) -> Any:
    """A function that builds the tab of one family into a page."""

    def build(site: Site, who: gr.BrowserState, demo: gr.Blocks) -> None:
        FamilyTab(site, family, example).build(who, demo)

    return build
