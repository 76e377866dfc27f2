"""What a visitor should know before trusting this page: limits, where their data is and for how long, versions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gradio as gr

from .. import sentences
from ..site import Site
from ..text import say, spoken
from ..workspace import megabytes
from . import QUICK, confirmed

_PROGRAMS = ("gradio", "torch", "diffusers", "transformers", "peft", "safetensors")
# The browser has forgotten who it was: everything on the page, and perhaps the run in its address, is gone.
_AGAIN = """(who) => {
  if (who && who.visitor) return;
  const url = new URL(window.location.href);
  url.searchParams.delete("run");
  window.location.replace(url);
}"""


class Trust:
    """Below the tabs, folded away."""

    def __init__(self, site: Site, who: gr.BrowserState):
        self.site, self.who = site, who
        with gr.Accordion(say("trust"), open=False, elem_id="trust") as self.box:
            gr.HTML(sentences.promises(self._promises(), _versions()), apply_default_css=False)
            self.used = gr.HTML("", apply_default_css=False, elem_id="used")
            self.forget = gr.Button(say("forget"), variant="stop", elem_id="forget", min_width=100)

    def connect(self) -> None:
        """Events of this panel alone."""
        self.box.expand(spoken(self.measure), [self.who], [self.used], **QUICK)
        gone = self.forget.click(spoken(self.forget_all), [self.who], [self.who, self.used], **confirmed("forget_sure"))
        gone.then(None, [self.who], js=_AGAIN)

    def measure(self, state: Any) -> str:
        """How much of their space a visitor has used."""
        visitor, _ = self.site.who(state)
        limit = megabytes(visitor.limits.visitor_bytes)
        return sentences.quiet(say("used", used=megabytes(visitor.used_bytes()), limit=limit))

    def forget_all(self, state: Any) -> list[Any]:
        """Delete everything of a visitor, who has said yes."""
        if not state:
            return [gr.skip(), gr.skip()]
        visitor, _ = self.site.who(state)
        try:
            self.site.forget(visitor)
        except OSError as error:
            return [gr.skip(), sentences.problems([say("not_forgotten", reason=error.strerror)])]
        return [{}, sentences.quiet(say("forgotten"))]

    def _promises(self) -> list[tuple[str, list[str]]]:
        limits = self.site.workspace.limits
        place = say("where_hosted") if self.site.hosted else say("where_local", folder=self.site.workspace.root)
        kept = say("kept_hours", hours=limits.keep_hours) if limits.keep_hours else say("kept")
        return [
            (say("your_data"), [place, kept, say("copies"), say("alone")]),
            (say("your_limits"), sentences.limit_lines(limits)),
            (say("our_promises"), [say("no_telemetry"), say("safetensors_only"), say("process")]),
        ]


def _versions() -> str:
    """The programs at work, found without importing them."""
    found = []
    for name in _PROGRAMS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return " · ".join(found)
