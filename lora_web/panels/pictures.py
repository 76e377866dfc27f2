"""The pictures a person brings, in their editor."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..editor import FOLLOWED, Editor, follow
from ..site import Site
from ..slots import Slot
from ..text import say
from .settings import Settings


class Pictures:
    """Step 1."""

    def __init__(self, site: Site, slot: Slot, example: str):
        self.site, self.slot = site, slot
        gr.Markdown(f"## {say('pictures')}")
        self.editor = Editor(site, slot.family, example, prefix=slot.prefix)
        self.outputs = [self.editor.component]
        # Events that mean: the samples have changed, and are saved.
        self.saved = [self.editor.component.saved]

    def connect(self, settings: Settings) -> None:
        """Let the editor know what the settings make of the pictures."""
        components = dict(zip((field.name for field in settings.fields), settings.components, strict=True))
        followed = [components[name] for name in FOLLOWED]
        gr.on([one.change for one in followed], None, followed, js=follow(self.slot.family), api_visibility="private")

    def view(self, who: dict[str, Any]) -> list[Any]:
        """Updates of `outputs`: which dataset the editor shows. A visitor without one is given an empty one."""
        visitor, known = self.site.who(who)
        entry = self.slot.dataset
        who[entry] = known.get(entry) or visitor.new_dataset()
        return [{"visitor": visitor.token, "dataset": who[entry]}]
