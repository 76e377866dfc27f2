"""The run a page watches: state, progress, loss plot, preview pictures, and the buttons that end or resume it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from pipelines.errors import ProblemsError

from .. import progress
from ..plots import drawn, loss_plot
from ..site import Site
from ..slots import FIRST, Slot
from ..status import RESUMABLE, Status
from ..text import say

# A page that watches nothing still looks now and then: a run may be started or resumed in another tab.
_BUSY, _IDLE = 1.0, 5.0
_TITLE = 'watch("value", () => { if (props.value) document.title = props.value; });'
_COLOURS = {"plot.raw": "#94a3b8", "plot.smooth": "#4f6bed", "plot.validation": "#d97706"}


class Training:
    """Step 3."""

    def __init__(self, site: Site, slot: Slot):
        self.site, self.slot, prefix = site, slot, slot.prefix
        gr.Markdown(f"## {say('progress')}")
        self.status = gr.HTML(progress.status(None, ""), elem_id=f"{prefix}status", elem_classes="run-status")
        self.plot = loss_plot(say("plot"), 220, {say(key): colour for key, colour in _COLOURS.items()}, f"{prefix}plot")
        self.probe = gr.HTML("", apply_default_css=False, elem_id=f"{prefix}probe")
        self.strip = gr.HTML("", apply_default_css=False, elem_id=f"{prefix}strip")
        with gr.Row(elem_id=f"{prefix}run-buttons"):
            self.sample = gr.Button(say("sample"), interactive=False, elem_id=f"{prefix}sample", min_width=100)
            self.stop = gr.Button(say("stop"), interactive=False, elem_id=f"{prefix}stop", min_width=100)
            self.resume = gr.Button(say("resume"), interactive=False, elem_id=f"{prefix}resume", min_width=100)
            self.discard = gr.Button(
                say("discard"), variant="stop", interactive=False, elem_id=f"{prefix}discard", min_width=100
            )
        self.title = gr.HTML(value="", html_template="", js_on_load=_TITLE, elem_classes="off-screen")
        self.timer = gr.Timer(_IDLE, active=slot.family == FIRST)
        # What each part has been shown; a part with the same mark again is left alone. Kept in the page, so that it
        # comes and goes with what it speaks of: answers may overtake each other.
        self.seen = gr.JSON({}, visible="hidden")
        buttons = [self.sample, self.stop, self.resume, self.discard]
        self.outputs = [self.seen, self.status, self.plot, self.probe, self.strip, *buttons, self.title, self.timer]

    def found(self, who: Mapping[str, Any]) -> Status | None:
        """The status of the run this page watches; None when there is none, or it has just been deleted elsewhere."""
        visitor, who = self.site.who(who)
        run = visitor.run(who.get(self.slot.run))
        try:
            return self.site.supervisor.status(run) if run else None
        except ProblemsError:
            return None

    def view(self, who: Mapping[str, Any], found: Status | None, seen: Any = None) -> list[Any]:
        """Updates of `outputs`, leaving alone what has not changed since `seen`."""
        visitor, who = self.site.who(who)
        run, name = visitor.run(who.get(self.slot.run)), str(who.get(self.slot.run, ""))
        others = [row for row in self.site.supervisor.active(visitor) if row.id != name]
        seen = seen if isinstance(seen, dict) else {}
        title, active = progress.page_title(found), found is not None and found.active
        previews = found.previews if found else {}
        # A mark and what to show: made only when the mark is new.
        parts: list[tuple[Any, Callable[[], Any]]] = [
            (
                (name, found and found.mark, [(row.id, row.state, row.title) for row in others]),
                lambda: progress.status(found, name, others),
            ),
            (
                (name, found and (found.step, len(found.curve), list(found.validations))),
                lambda: _plot(found) if found else gr.LinePlot(visible=False),
            ),
            ((name, found and (found.step, len(found.blocks))), lambda: progress.probe(found)),
            ((name, list(previews)), lambda: progress.strip(run, previews) if run else ""),
            *_buttons(found),
            (title, lambda: title),
            (active, lambda: gr.Timer(_BUSY if active else _IDLE, active=True)),
        ]
        marks: dict[str, Any] = {str(i): repr(mark) for i, (mark, _) in enumerate(parts)}
        marks["usable"] = found is not None and found.adapter is not None
        changed = [part() if seen.get(str(i)) != marks[str(i)] else gr.skip() for i, (_, part) in enumerate(parts)]
        return [gr.skip() if marks == seen else marks, *changed]


def _buttons(found: Status | None) -> list[tuple[Any, Callable[[], Any]]]:
    """Mark and update of Sample now, Stop and keep, Resume, Discard."""
    if found is None:
        return [(None, lambda: gr.Button(interactive=False))] * 4
    busy = found.stopping or found.sampling
    return [
        (
            (found.state, found.step > 0, busy),
            lambda: gr.Button(
                say("sampling" if found.sampling else "sample"),
                interactive=found.state == "running" and found.step > 0 and not busy,
            ),
        ),
        (
            (found.state, found.stopping),
            lambda: gr.Button(
                say("leave" if found.state == "queued" else "stop"), interactive=found.active and not found.stopping
            ),
        ),
        (found.state, lambda: gr.Button(interactive=found.state in RESUMABLE)),
        ("there", lambda: gr.Button(interactive=True)),
    ]


def _plot(found: Status) -> Any:
    """The loss, raw and smoothed, and the validation loss, over an axis that stands still."""
    rows = [(step, loss, say("plot.raw")) for step, loss, _ in found.curve]
    rows += [(step, smooth, say("plot.smooth")) for step, _, smooth in found.curve]
    rows += [(step, loss, say("plot.validation")) for step, loss in sorted(found.validations.items())]
    return drawn(rows, found.steps)
