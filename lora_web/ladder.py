"""The strength ladder as a component: pictures side by side, a slider that works without the server."""

from __future__ import annotations

import html
import json
from pathlib import Path

import gradio as gr

from .text import say

_SCRIPT = (Path(__file__).parent / "ladder.js").read_text(encoding="utf-8")
# The value is never interpolated: the script puts it in place, so typing and focus survive an update.
_PAGE = """
<div class="ladder" data-part="words" data-words="{words}">
  <p class="quiet" data-part="empty">{empty}</p>
  <div data-part="ladder" hidden>
    <p class="quiet" data-part="of"></p>
    <div class="compare">
      <figure><img data-part="base" alt="{base}"><figcaption>{base}</figcaption></figure>
      <figure><img data-part="adapter" alt="">
        <figcaption data-part="adapter-caption" aria-live="polite"></figcaption></figure>
    </div>
    <label class="slider"><span>{strength} <output data-part="value"></output></span>
      <input type="range" min="0" max="6" step="1" value="0" data-part="slider"
        aria-describedby="strength-help"></label>
    <p class="quiet" id="strength-help">{help}</p>
    <div class="rungs" role="group" aria-label="{strength}" data-part="rungs"></div>
  </div>
</div>
"""


def ladder() -> gr.HTML:
    """The component; its value is what `Previews.ladder` returns, or None."""
    words = {key: say(key) for key in ("adapter_picture", "ladder_of", "strength")}
    page = _PAGE.format(
        words=html.escape(json.dumps(words, ensure_ascii=False)),
        empty=html.escape(say("ladder_empty")),
        base=html.escape(say("base_picture")),
        strength=html.escape(say("strength")),
        help=html.escape(say("strength_help")),
    )
    return gr.HTML(value=None, html_template=page, js_on_load=_SCRIPT, apply_default_css=False, elem_id="ladder")


# `gr.DownloadButton` wants its file before the click; here the file is made because of it.
_DOWNLOAD = """
watch("value", () => {
  const file = props.value;
  if (!file || typeof file.path !== "string") return;
  const link = document.createElement("a");
  link.href = new URL("gradio_api/file=" + file.path.split("/").map(encodeURIComponent).join("/"), document.baseURI);
  link.download = file.name;
  document.body.append(link);
  link.click();
  link.remove();
});
"""


def download_link() -> gr.HTML:
    """A component without a face: the browser saves the file `{"path": ..., "name": ...}` that it is given."""
    return gr.HTML(
        value=None, html_template="", js_on_load=_DOWNLOAD, elem_classes="off-screen", elem_id="download-link"
    )
