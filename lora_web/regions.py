"""Boxes drawn on a picture, for components whose script draws them: the script, and what it needs to be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.data.regions import READ_REGIONS

from .text import say
from .words.regions import WORDS

_PART = "region."
DRAWING = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def drawing() -> dict[str, Any]:
    """Options of `drawRegions` that are the same wherever boxes are drawn, in the language spoken now."""
    return {"words": {key[len(_PART) :]: say(key) for key in WORDS}, "most": READ_REGIONS}
