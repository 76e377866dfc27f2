"""The run a page watches: state, progress, loss plot, and the buttons that end or resume it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .. import sentences
from ..runs import RESUMABLE, Status
from ..site import Site
from ..text import say


class Training:
    """Step 3."""

    def __init__(self, site: Site):
        self.site = site
        gr.Markdown(f"## {say('progress')}")
        self.status = gr.HTML(sentences.status(None, ""), elem_id="status")
        self.plot = gr.LinePlot(
            x="step",
            y="loss",
            color="line",
            label=say("plot"),
            height=220,
            x_title=say("plot.step"),
            y_title=say("plot.loss"),
            buttons=[],
            colors_in_legend=[],
            color_map={say("plot.raw"): "#94a3b8", say("plot.smooth"): "#4f6bed"},
            visible=False,
            elem_id="plot",
        )
        with gr.Row():
            self.stop = gr.Button(say("stop"), interactive=False, elem_id="stop", min_width=100)
            self.resume = gr.Button(say("resume"), interactive=False, elem_id="resume", min_width=100)
            self.discard = gr.Button(
                say("discard"), variant="stop", interactive=False, elem_id="discard", min_width=100
            )
        self.timer = gr.Timer(1.0, active=False)
        # What the page has been shown; the same mark again means nothing new.
        self.seen = gr.State("")
        self.outputs = [self.seen, self.status, self.plot, self.stop, self.resume, self.discard, self.timer]

    def status_of(self, who: dict[str, Any]) -> tuple[Status | None, str]:
        """The run this page watches and its mark."""
        visitor, who = self.site.who(who)
        run = visitor.run(who.get("run"))
        found = self.site.supervisor.status(run) if run else None
        return found, f"{run.name}:{found.mark}" if run and found else ""

    def view(self, who: dict[str, Any], found: Status | None, mark: str) -> list[Any]:
        """Updates of `outputs` for a status and its mark."""
        active = found is not None and found.active
        return [
            mark,
            sentences.status(found, str(who.get("run", ""))),
            _plot(found.curve, found.steps) if found else gr.LinePlot(visible=False),
            gr.Button(interactive=active and not (found and found.stopping)),
            gr.Button(interactive=found is not None and found.state in RESUMABLE),
            gr.Button(interactive=found is not None),
            gr.Timer(active=active),
        ]


def _plot(curve: list[tuple[int, float, float]], steps: int) -> Any:
    """The loss, raw and smoothed, over an axis that stands still."""
    import pandas as pd

    rows = [(step, loss, say("plot.raw")) for step, loss, _ in curve] + [
        (step, smooth, say("plot.smooth")) for step, _, smooth in curve
    ]
    table = pd.DataFrame(rows, columns=["step", "loss", "line"])
    return gr.LinePlot(table, x_lim=[0, max(1, steps)], visible=bool(rows))
