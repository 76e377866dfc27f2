"""The plot of a run's losses, wherever one is shown."""

from __future__ import annotations

from collections.abc import Mapping

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
