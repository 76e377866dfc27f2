"""Regions: boxes in a picture, each with a caption of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import ProblemsError, shown
from .plain import MAX_CAPTION, clean

MAX_REGIONS = 100
# As many as models with layouts were trained to read.
READ_REGIONS = 10


@dataclass(frozen=True)
class Region:
    """`box` is (left, top, right, bottom) as shares of the upright picture, each in [0, 1]."""

    box: tuple[float, float, float, float]
    caption: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"box": list(self.box), "caption": self.caption}


def read_regions(value: Any, what: str) -> tuple[Region, ...]:
    """Regions from JSON values that anybody may have written; `what` names them in sentences.

    Raises ProblemsError with every problem.
    """
    if not isinstance(value, (list, tuple)):
        raise ProblemsError(f'{what} are {shown(value)}, must be a list of {{"box": [0, 0, 1, 1], "caption": "a fox"}}')
    if len(value) > MAX_REGIONS:
        raise ProblemsError(f"{what} are {len(value)}, at most {MAX_REGIONS} are kept: remove some boxes")
    found: list[Region] = []
    problems: list[str] = []
    for number, item in enumerate(value, 1):
        one = f"{what}, number {number}"
        box: Any = item.get("box") if isinstance(item, dict) else None
        caption: Any = item.get("caption", "") if isinstance(item, dict) else None
        problem = _box_problem(box) or _caption_problem(caption)
        if problem:
            problems.append(f"{one}: {problem}")
        else:
            left, top, right, bottom = (float(side) for side in box)
            found.append(Region((left, top, right, bottom), clean(caption)))
    if problems:
        raise ProblemsError(problems)
    return tuple(found)


def _box_problem(box: Any) -> str:
    numbers = isinstance(box, (list, tuple)) and len(box) == 4 and all(_is_share(side) for side in box)
    if numbers and box[0] < box[2] and box[1] < box[3]:
        return ""
    return f"the box is {shown(box)}, must be left, top, right, bottom with 0 <= left < right <= 1 and so on"


def _is_share(side: Any) -> bool:
    return type(side) in (int, float) and math.isfinite(side) and 0 <= side <= 1


def _caption_problem(caption: Any) -> str:
    if not isinstance(caption, str):
        return f"the caption is {shown(caption)}, must be text"
    if len(caption) > MAX_CAPTION:
        return f"the caption has {len(caption)} characters, must have at most {MAX_CAPTION}"
    return ""
