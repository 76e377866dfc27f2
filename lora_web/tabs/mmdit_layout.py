"""Layout MM-DiT: the tab of a family with this family's name and example."""

from __future__ import annotations

from ..text import say
from .family import family_tab

build = family_tab("mmdit_layout", example="scenes")


def title() -> str:
    return say("layout")
