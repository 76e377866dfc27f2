"""Layout MM-DiT: the image tab with this family's name and example."""

from __future__ import annotations

from ..text import say
from .image import image_tab

build = image_tab("mmdit_layout", example="scenes")


def title() -> str:
    return say("layout")
