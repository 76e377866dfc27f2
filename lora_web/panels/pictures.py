"""The pictures a person brings, in their editor."""

from __future__ import annotations

from typing import Any, ClassVar

import gradio as gr

from ..editor import FOLLOWED, Editor, follow
from ..site import Site
from ..slots import Slot
from ..text import say
from .settings import Settings


class Pictures:
    """Step 1. `intro` is said above the editor, where there is something to say."""

    intro: ClassVar[str] = ""

    def __init__(self, site: Site, slot: Slot, example: str):
        self.site, self.slot = site, slot
        gr.Markdown(f"## {say('pictures')}")
        if self.intro:
            gr.Markdown(say(self.intro))
        self.editor = Editor(site, slot.family, example, prefix=slot.prefix)
        self.outputs = [self.editor.component]
        # Events that mean: the samples have changed, and are saved.
        self.saved = [self.editor.component.saved]

    def connect(self, settings: Settings) -> None:
        """Let the editor know what the settings make of the pictures."""
        components = dict(zip((field.name for field in settings.fields), settings.components, strict=True))
        names = [name for name in FOLLOWED if name in components]
        followed = [components[name] for name in names]
        js = follow(self.slot.family, names)
        gr.on([one.change for one in followed], None, followed, js=js, api_visibility="private")

    def view(self, who: dict[str, Any]) -> list[Any]:
        """Updates of `outputs`: which dataset the editor shows."""
        return [opened(self.site, self.slot, who)]


def opened(site: Site, slot: Slot, who: dict[str, Any]) -> dict[str, str]:
    """Whose and which dataset the editors of a tab show. A visitor without one is given an empty one."""
    visitor, known = site.who(who)
    who[slot.dataset] = known.get(slot.dataset) or visitor.new_dataset()
    return {"visitor": visitor.token, "dataset": who[slot.dataset]}
