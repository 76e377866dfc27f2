"""Boxes drawn on a picture: for components whose script draws them the script and what it needs to be told; and the
empty canvas, a component whose value is the list of boxes that are drawn on it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines.data.plain import MAX_CAPTION
from pipelines.data.regions import READ_REGIONS

from .scripts import as_attribute, script
from .text import say
from .words.regions import WORDS

_PART = "region."
# Of the boxes in their order, wherever they are shown; dark enough for white letters.
COLOURS = (
    *("#4338ca", "#b45309", "#047857", "#be123c", "#0369a1"),
    *("#7e22ce", "#4d7c0f", "#a21caf", "#c2410c", "#0f766e"),
)


def drawing() -> dict[str, Any]:
    """Options of `drawRegions` that are the same wherever boxes are drawn, in the language spoken now."""
    words = {key[len(_PART) :]: say(key) for key in WORDS}
    return {"words": words, "most": READ_REGIONS, "colours": COLOURS}


def canvas(elem_id: str) -> gr.HTML:
    """An empty square to draw boxes on."""
    options = as_attribute({**drawing(), "longest": MAX_CAPTION})
    return gr.HTML(
        value=None,
        html_template=f"<div class=\"canvas\" data-options='{options}'></div>",
        js_on_load=script("canvas"),
        apply_default_css=False,
        elem_id=elem_id,
    )
