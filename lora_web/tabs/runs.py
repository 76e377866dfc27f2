"""The history of a visitor's runs: open, resume, train again, rename, delete, compare."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
from gradio.context import Context

from pipelines.config import RunConfig
from pipelines.errors import ProblemsError

from .. import comparison, sentences
from ..history import cards, history
from ..panels import QUICK
from ..plots import drawn, loss_plot
from ..site import Site
from ..slots import SLOTS, Slot
from ..text import say, spoken
from ..workspace import Visitor

_PAGE = 30
_COLOURS = dict(zip(comparison.NAMES, ("#4f6bed", "#d97706"), strict=True))


def title() -> str:
    return say("runs")


class RunsTab:
    """The list, and below it the comparison of the two that are ticked."""

    def __init__(self, site: Site):
        self.site = site

    def build(self, who: gr.BrowserState, demo: gr.Blocks) -> None:
        """Lay out the tab and connect it. The list is read when the tab is opened, and again while a run goes on."""
        gr.Markdown(f"## {say('runs')}")
        self.problems = gr.HTML("", elem_id="runs-problems")
        self.history = history()
        # `seen` is kept in the page, so that it comes and goes with what it speaks of.
        self.shown, self.seen = gr.State(_PAGE), gr.Textbox("", visible="hidden")
        self.timer = gr.Timer(2.0, active=False)
        self.table = gr.HTML("", apply_default_css=False, elem_id="comparison")
        self.plot = loss_plot(say("compare.plot"), 240, _COLOURS, "comparison-plot")
        listed = [self.seen, self.history, self.timer]
        compared = [self.table, self.plot]
        look: dict[str, Any] = {"inputs": [who, self.shown, self.seen], "outputs": listed, **QUICK}
        opened = Context.block
        assert isinstance(opened, gr.Tab)
        opened.select(spoken(self.look), **look)
        self.timer.tick(spoken(self.look), **look)
        self.history.act(
            spoken(self.act),
            [who, self.shown],
            [who, self.shown, self.problems, *compared, *listed],
            **QUICK,
            trigger_mode="multiple",
        ).then(fn=None, inputs=[who], js="loraWeb.setUrl")
        self.history.compare(spoken(self.compare), [who], compared, **QUICK, trigger_mode="multiple")

    def look(self, state: Any, shown: Any, seen: Any) -> list[Any]:
        """What is new in the list, or nothing."""
        visitor, _ = self.site.who(state)
        return self._list(visitor, shown, seen)

    def act(self, state: Any, shown: Any, event: gr.EventData) -> list[Any]:
        """What a person did to a card. The data comes from a browser and is believed no further than that."""
        visitor, who = self.site.who(state)
        asked = event._data if isinstance(event._data, dict) else {}
        what, told, compared = asked.get("do"), "", [gr.skip(), gr.skip()]
        shown = shown if isinstance(shown, int) else _PAGE
        try:
            if what == "more":
                shown += _PAGE
            else:
                self._change(visitor, who, what, asked)
                if what == "delete":
                    compared = self._compare(visitor, None)
        except ProblemsError as error:
            told = sentences.problems(error.problems)
        return [who, shown, told, *compared, *self._list(visitor, shown, None)]

    def compare(self, state: Any, event: gr.EventData) -> list[Any]:
        """Two cards were ticked, or no longer."""
        visitor, _ = self.site.who(state)
        return self._compare(visitor, event._data.get("runs") if isinstance(event._data, dict) else None)

    def _change(self, visitor: Visitor, who: dict[str, Any], what: Any, asked: dict[str, Any]) -> None:
        """Resume, retry, rename or delete one run. Raises ProblemsError."""
        run, supervisor = visitor.run(asked.get("run")), self.site.supervisor
        if run is None:
            raise ProblemsError(say("runs.gone"))
        if what == "resume":
            self.site.resume(visitor, run)
            Slot(RunConfig.load(run / "run.json").family).watch(who, run.name)
        elif what == "retry":
            if not (run / "dataset").is_dir():
                raise ProblemsError(say("runs.no_data"))
            config = RunConfig.load(run / "run.json")
            name = self.site.start(visitor, config, run / "dataset")
            supervisor.rename(run.with_name(name), supervisor.status(run).title)
            Slot(config.family).watch(who, name)
        elif what == "rename":
            supervisor.rename(run, str(asked.get("title", "")))
        elif what == "delete":
            supervisor.discard(run)
            for slot in SLOTS:
                slot.leave(who, run.name)

    def _list(self, visitor: Visitor, shown: Any, seen: Any) -> list[Any]:
        records = self.site.supervisor.history(visitor)
        value = cards(records, shown if isinstance(shown, int) else _PAGE, self.site.supervisor.longest)
        value["notice"] = self.site.supervisor.notice
        # Pictures are compared by length: they differ in more than that, and a mark should be small.
        small = [{**card, "picture": len(card["picture"])} for card in value["runs"]]
        mark = json.dumps([small, value["more"], value["notice"]])
        if mark == seen:
            return [gr.skip()] * 3
        active = any(record.row.state in ("queued", "running") for record in records)
        return [mark, value, gr.Timer(active=active)]

    def _compare(self, visitor: Visitor, names: Any) -> list[Any]:
        """Table and plot for two runs; empty for anything else."""
        runs = [visitor.run(name) for name in names] if isinstance(names, list) else []
        if len(runs) != 2 or None in runs:
            return ["", gr.LinePlot(visible=False)]
        first, second = (comparison.Side(run, self.site.supervisor.status(run)) for run in runs if run)
        rows = comparison.curves((first, second))
        return [comparison.table((first, second)), drawn(rows, max(first.status.steps, second.status.steps))]


def build(site: Site, who: gr.BrowserState, demo: gr.Blocks) -> None:
    """The tab in the language spoken now."""
    RunsTab(site).build(who, demo)
