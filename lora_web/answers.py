"""Answers at several strengths as a component: the base's beside that of the strength on a slider, all of them below.

Its value is a message of `questions` as JSON text: the answers so far, one between two strengths, or what is being
waited for. (Gradio copies the values of a page at each thing it is told, objects piece by piece, texts not.) It says
`rest` when the slider rests between two strengths, `rebalance` when a group of layers was moved, and `stop`.
"""

from __future__ import annotations

import html

import gradio as gr

from .scripts import as_attribute, script
from .text import say

_SPOKEN = (
    *("copy", "copied", "saying", "cut", "silent", "chance", "least_sure", "nearest", "asking_exact"),
    *("saying_exact", "exact_rung", "exact_now", "zero_equal", "zero_differs"),
)
_SHARED = ("strength", "adapter_picture")
_GROUPS = ("attention", "MLP", "vision embedding", "other")
_PAGE = """
<div class="answers" data-part="words" data-words='{words}'>
  <div class="waiting"><p class="quiet wait" data-part="wait" role="status"></p>
    <button type="button" data-part="stop" hidden>{stop}</button></div>
  <p class="quiet" data-part="empty">{empty}</p>
  <div data-part="answers" hidden>
    <p class="asked"><span class="quiet">{asked}</span> <q data-part="of"></q></p>
    <div class="bar" role="group" aria-label="{marking}">
      <button type="button" data-part="sure" aria-pressed="false">{sure}</button>
      <button type="button" data-part="fresh" aria-pressed="false">{fresh}</button>
    </div>
    <p class="quiet legend" data-part="sure-legend" hidden>{sure_legend}
      <span class="token" data-sure="0">{under_25}</span> <span class="token" data-sure="1">{under_50}</span>
      <span class="token" data-sure="2">{under_75}</span> <span class="token" data-sure="3">{under_90}</span>
      <span class="token">{over_90}</span></p>
    <p class="quiet legend" data-part="fresh-legend" hidden><span class="token" data-fresh="true">{fresh_sample}</span>
      {fresh_legend}</p>
    <div class="beside">
      <div class="answer" role="group" data-part="base" aria-label="{base}"><h3>{base}</h3></div>
      <div class="answer" role="group" data-part="with"><h3 data-part="with-title"></h3></div>
    </div>
    <label class="slider"><span>{strength} <output data-part="value"></output></span>
      <input type="range" step="0.05" min="0" max="1.5" value="1" data-part="slider"></label>
    <p class="quiet kind" data-part="kind" aria-live="polite"></p>
    <p class="quiet">{help}</p>
    <div class="rungs" role="group" aria-label="{all}" data-part="rungs"></div>
    <p class="quiet" data-part="zero" hidden></p>
    <details data-part="more" hidden><summary>{groups_title}</summary>
      <p class="quiet">{groups_help}</p><div class="groups" data-part="groups"></div></details>
  </div>
</div>
"""
_IN_PAGE = (
    *("stop", "empty", "asked", "marking", "sure", "fresh", "sure_legend", "fresh_legend", "fresh_sample", "base"),
    *("help", "all", "under_25", "under_50", "under_75", "under_90", "over_90", "groups_help"),
)


def answers(elem_id: str) -> gr.HTML:
    """The component."""
    words: dict[str, object] = {key: say(f"answers.{key}") for key in _SPOKEN}
    words |= {key: say(key) for key in _SHARED}
    words["groups"] = {name: say(f"group.{name}") for name in _GROUPS}
    page = _PAGE.format(
        words=as_attribute(words),
        strength=html.escape(say("strength")),
        groups_title=html.escape(say("groups_title")),
        **{key: html.escape(say(f"answers.{key}")) for key in _IN_PAGE},
    )
    return gr.HTML(
        value=None,
        html_template=page,
        js_on_load=script("answers", "rest", "rebalance", "stop"),
        apply_default_css=False,
        elem_id=elem_id,
    )
