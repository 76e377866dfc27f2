"""The strength ladder as a component: pictures to compare, and a slider that works without the server.

Its value is a message of `Previews`: a ladder, or something to add to the ladder that is shown (an exact picture, the
proof of strength 0, what was found in the boxes, a curve, what is being waited for). It says `rest` when the slider
rests between two rungs and `rebalance` when a group of layers was moved.
"""

from __future__ import annotations

import html

import gradio as gr

from .regions import COLOURS
from .scripts import as_attribute, script
from .text import say

_SPOKEN = (
    "adapter_picture",
    "ladder_of",
    "strength",
    "approximate",
    "between",
    "exact_rung",
    "exact_drawn",
    "drawing_exact",
    "recommends",
    "recommends_none",
    "measured",
    "zero_equal",
    "zero_differs",
    "overlay_has",
    "adherence_yes",
    "adherence_no",
)
_GROUPS = (
    *("self-attention", "cross-attention", "convolution", "text", "other"),
    *("boxes", "region captions", "layout attention", "layout feed-forward", "layout output"),
)
# The value is never interpolated: the script puts it in place, so typing and focus survive an update.
_PAGE = """
<div class="ladder" data-part="words" data-words='{words}'>
  <p class="quiet wait" data-part="wait" role="status"></p>
  <p class="quiet" data-part="empty">{ladder_empty}</p>
  <div data-part="ladder" hidden>
    <div class="bar">
      <span class="quiet" data-part="of"></span>
      <span role="group" aria-label="{view}">
        <button type="button" data-part="side" aria-pressed="true">{view_side}</button>
        <button type="button" data-part="over-view" aria-pressed="false">{view_wipe}</button>
      </span>
      <span role="group" aria-label="{overlay}" data-part="overlay" hidden>
        <button type="button" data-boxes="none" aria-pressed="false">{overlay_none}</button>
        <button type="button" data-boxes="over" aria-pressed="true">{overlay_over}</button>
        <button type="button" data-boxes="alone" aria-pressed="false">{overlay_alone}</button>
      </span>
    </div>
    <div class="compare" data-part="compare" data-view="side" data-boxes="over">
      <figure><div class="whole"><img data-part="base" alt="{base_picture}">
          <svg class="boxes" viewBox="0 0 100 100" role="img" data-part="base-boxes"></svg></div>
        <figcaption>{base_picture}</figcaption></figure>
      <figure class="with">
        <div class="stack" data-part="stack"><img data-part="adapter" alt=""><img data-part="over" alt="">
          <svg class="boxes" viewBox="0 0 100 100" role="img" data-part="adapter-boxes"></svg></div>
        <figcaption data-part="adapter-caption"></figcaption></figure>
      <input type="range" class="wipe" min="0" max="100" step="1" value="50" data-part="wipe" aria-label="{wipe}">
    </div>
    <label class="slider"><span>{strength} <output data-part="value"></output></span>
      <input type="range" step="0.05" min="0" max="1.5" value="1" data-part="slider"></label>
    <p class="quiet kind" data-part="kind" aria-live="polite"></p>
    <div class="rungs" role="group" aria-label="{strength}" data-part="rungs"></div>
    <p class="quiet">{strength_help}</p>
    <p class="quiet" data-part="zero" hidden></p>
    <div class="adherence" data-part="adherence" hidden>
      <div class="wide" tabindex="0" role="group" aria-label="{adherence}" data-part="found">
        <table><caption>{adherence}</caption>
          <thead><tr data-part="found-at"><th scope="col">{adherence_box}</th></tr></thead>
          <tbody data-part="found-in"></tbody></table>
        <p class="quiet">{adherence_help}</p></div>
      <p class="quiet" data-part="found-hint"></p>
    </div>
    <div class="curve" data-part="curve" hidden>
      <svg viewBox="0 0 300 130" role="img" data-part="plot"></svg>
      <div>
        <p><b data-part="recommended"></b>
          <button type="button" data-part="use">{use}</button></p>
        <p class="quiet"><span class="key near"></span>{near}</p>
        <p class="quiet"><span class="key moved"></span>{moved}</p>
        <p class="quiet" data-part="measured"></p>
      </div>
    </div>
    <details data-part="more" hidden><summary>{groups_title}</summary>
      <p class="quiet">{groups_help}</p><div class="groups" data-part="groups"></div></details>
  </div>
</div>
"""
_IN_PAGE = (
    *("ladder_empty", "view", "view_side", "view_wipe", "base_picture", "wipe", "strength", "strength_help"),
    *("use", "near", "moved", "groups_title", "groups_help"),
    *("overlay", "overlay_none", "overlay_over", "overlay_alone", "adherence", "adherence_box", "adherence_help"),
)


def ladder(elem_id: str) -> gr.HTML:
    """The component."""
    words: dict[str, object] = {key: say(key) for key in _SPOKEN}
    words["groups"] = {name: say(f"group.{name}") for name in _GROUPS}
    words["colours"] = COLOURS
    page = _PAGE.format(words=as_attribute(words), **{key: html.escape(say(key)) for key in _IN_PAGE})
    return gr.HTML(
        value=None,
        html_template=page,
        js_on_load=script("ladder", "rest", "rebalance"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def download_link(elem_id: str) -> gr.HTML:
    """A component without a face: the browser saves the file `{"path": ..., "name": ...}` that it is given."""
    # `gr.DownloadButton` wants its file before the click; here the file is made because of it.
    return gr.HTML(
        value=None, html_template="", js_on_load=script("download"), elem_classes="off-screen", elem_id=elem_id
    )
