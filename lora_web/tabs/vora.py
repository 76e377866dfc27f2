"""A language model that learns to see: the tab of a family with this one's name and example."""

from __future__ import annotations

from ..text import say
from .family import family_tab

build = family_tab("vora", example="drawings")


def title() -> str:
    return say("vora_tab")
