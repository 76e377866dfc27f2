"""The questions and answers a person brings, in their editor: text alone, or about pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import gradio as gr

from ..rows import Rows
from ..site import Site
from ..slots import Slot
from ..text import say
from .pictures import Pictures, opened
from .settings import Settings


class Dialogues:
    """Step 1 of a family that reads text."""

    def __init__(self, site: Site, slot: Slot, example: str):
        self.site, self.slot = site, slot
        gr.Markdown(f"## {say('rows')}")
        self.rows = Rows(site, slot.family, example, prefix=slot.prefix)
        self.outputs = [self.rows.component]
        # Events that mean: the samples have changed, and are saved.
        self.saved = [self.rows.component.saved]

    def connect(self, settings: Settings) -> None:
        """No setting says what becomes of a row before it is read by the base."""

    def view(self, who: dict[str, Any]) -> list[Any]:
        """Updates of `outputs`: which dataset the editor shows."""
        return [opened(self.site, self.slot, who)]


class PictureDialogues(Pictures):
    """Step 1 of a family that reads pictures with dialogues: pictures, whose captions become answers, and questions
    about them."""

    intro: ClassVar[str] = "talks_intro"

    def __init__(self, site: Site, slot: Slot, example: str):
        super().__init__(site, slot, example)
        gr.Markdown(say("talks"))
        self.rows = Rows(site, slot.family, prefix=slot.prefix)
        self.outputs.append(self.rows.component)
        self.saved.append(self.rows.component.saved)

    def view(self, who: dict[str, Any]) -> list[Any]:
        """Updates of `outputs`: both editors show the one dataset."""
        (shown,) = super().view(who)
        return [shown, shown]
