"""One picture to ask about, as a component: picked, dropped or pasted. Its value is `{"path": ..., "name": ...}` of the
uploaded file, or null."""

from __future__ import annotations

import html

import gradio as gr

from .scripts import as_attribute, script
from .text import say

_PAGE = """
<div class="one-picture" data-part="words" data-words='{words}' role="group" aria-label="{label}">
  <span class="label">{label}</span>
  <label class="drop" data-part="drop">
    <input type="file" accept="image/png,image/jpeg,image/webp" data-part="file">
    <img alt="" data-part="shown" hidden>
    <span data-part="hint">{hint}</span>
  </label>
  <button type="button" data-part="remove" hidden>{remove}</button>
  <p class="quiet" role="status" data-part="told"></p>
</div>
"""


def picture(elem_id: str) -> gr.HTML:
    """The component."""
    words = {key: say(f"picture.{key}") for key in ("loading", "failed", "none")}
    page = _PAGE.format(
        words=as_attribute(words),
        **{key: html.escape(say(f"picture.{key}")) for key in ("label", "hint", "remove")},
    )
    return gr.HTML(
        value=None, html_template=page, js_on_load=script("picture"), apply_default_css=False, elem_id=elem_id
    )
