"""Box adherence: whether a picture shows in each box what the box's caption names, as the bundled judge sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from .bases import BUNDLED
from .data.regions import Region
from .judge import FOLDER, Judge, cut_out, to_pixels

if TYPE_CHECKING:
    from PIL.Image import Image


def readable(base: str) -> bool:
    """Whether the judge can read what a base draws: it knows the drawings that the bundled bases learned from."""
    return base in BUNDLED


def has_judge() -> bool:
    """Whether the judge is part of this copy of the program."""
    return (FOLDER / "config.json").is_file()


def found_in_boxes(pictures: Sequence[Image], regions: Sequence[Region]) -> list[list[bool] | None]:
    """Per region whether each picture shows there what its caption names; None where the judge does not know that."""
    nouns = [noun_of(region.caption, _judge().nouns) for region in regions]
    known = [(region, noun) for region, noun in zip(regions, nouns, strict=True) if noun]
    if not known:
        return [None] * len(regions)
    pieces = [cut_out(picture, _pixels(region, picture.size)) for region, _ in known for picture in pictures]
    found = iter(_judge().finds(to_pixels(pieces), [noun for _, noun in known for _ in pictures]))
    return [[next(found) for _ in pictures] if noun else None for noun in nouns]


def noun_of(caption: str, nouns: Iterable[str]) -> str | None:
    """The one of these nouns that a caption names; None when it names none, or several."""
    longest_first = "|".join(re.escape(noun) for noun in sorted(nouns, key=len, reverse=True))
    named = set(re.findall(rf"(?<![\w-])(?:{longest_first})(?![\w-])", caption.lower()))
    return named.pop() if len(named) == 1 else None


@cache
def _judge() -> Judge:
    return Judge()


def _pixels(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box of a region in a picture, at least one pixel wide and high."""
    width, height = size
    left, top, right, bottom = (round(share * side) for share, side in zip(region.box, (*size, *size), strict=True))
    left, top = min(left, width - 1), min(top, height - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)
