"""The plot of a run's losses, wherever one is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr

from .text import say


def loss_plot(label: str, height: int, colours: Mapping[str, str], elem_id: str) -> gr.LinePlot:
    """An empty plot with columns `step`, `loss` and `line`; `colours` of the lines by name."""
    return gr.LinePlot(
        x="step",
        y="loss",
        color="line",
        label=label,
        height=height,
        x_title=say("plot.step"),
        y_title=say("plot.loss"),
        buttons=[],
        colors_in_legend=[],
        color_map=dict(colours),
        visible=False,
        elem_id=elem_id,
    )


def drawn(rows: Sequence[tuple[int, float, str]], steps: int) -> gr.LinePlot:
    """The update of a plot with (step, loss, line) over an axis that stands still; without rows there is no plot."""
    if not rows:
        return gr.LinePlot(visible=False)
    import pandas as pd

    table = pd.DataFrame(rows, columns=["step", "loss", "line"])
    return gr.LinePlot(table, x_lim=[0, max(1, steps)], visible=True)
