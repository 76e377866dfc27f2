"""The top of the page: name, what it is for, and the switches for language and for light and dark."""

from __future__ import annotations

import html

import gradio as gr

from .scripts import as_attribute, script
from .text import LANGUAGES, language, say

_PAGE = """
<header class="masthead" lang="{code}">
  <span class="mark" aria-hidden="true"></span>
  <div class="names"><h1>{title}</h1><p>{tagline}</p></div>
  <nav aria-label="{switches}">
    <a data-part="language" href="{path}" lang="{other}" hreflang="{other}">{name}</a>
    <button type="button" data-part="theme" data-words='{words}'></button>
  </nav>
</header>
"""


def header() -> gr.HTML:
    """The component. Its switches keep what the address says about the run, and are remembered."""
    other = next(code for code in LANGUAGES if code != language())
    page = _PAGE.format(
        code=language(),
        title=html.escape(say("title")),
        tagline=html.escape(say("tagline")),
        switches=html.escape(say("switches")),
        # Relative to where the page is served, whatever path a proxy gives it.
        path=f"{LANGUAGES[other] or './'}?lang={other}",
        other=other,
        name=html.escape(say("other_language")),
        words=as_attribute({"dark": say("to_dark"), "light": say("to_light")}),
    )
    return gr.HTML(html_template=page, js_on_load=script("header"), apply_default_css=False, elem_id="head")
