"""Boxes as other programs wrote them: put right where it is plain what was meant, and whatever was done is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ProblemsError
from .pictures import stored_orientation
from .plain import MAX_CAPTION, clean, some
from .regions import MAX_REGIONS, READ_REGIONS, Region

Box = tuple[float, float, float, float]
# Of a box that is meant as shares, a side beyond this is a number of pixels.
_FARTHEST_SHARE = 2.0
# By how much the shape of a picture may differ from the one its boxes were drawn on: a smaller copy has rounded sides.
_SAME_SHAPE = 0.02
_ALIKE = 0.9

_NOTES = {
    "cut": "Boxes that reached over the edge of the picture were cut off there: {pictures}",
    "inverted": "Boxes with left and right, or top and bottom, the wrong way round were put right: {pictures}",
    "thin": "Boxes thinner than one pixel were left out, draw them again if they are wanted: {pictures}",
    "stored": "Boxes were measured on the picture as it is stored, which is turned when it is shown, so they were "
    "turned with it; look whether they fit: {pictures}",
    "many": f"More than {READ_REGIONS} boxes in a picture are kept, but a model reads the {READ_REGIONS} largest, so "
    "leave out what does not matter: {pictures}",
    "beyond": f"At most {MAX_REGIONS} boxes of a picture are kept, the first ones: {{pictures}}",
    "alike": "Two boxes lie almost wholly over each other, a model can hardly tell them apart, so leave one out: "
    "{pictures}",
    "unnamed": "YOLO classes without a name give boxes without a caption; add the list of names (classes.txt, "
    "data.yaml or obj.names), or describe the boxes: {pictures}",
    "long": f"Captions of boxes with more than {MAX_CAPTION} characters were cut off there: {{pictures}}",
}
_REJECTED = {
    "outside": "Boxes that lie wholly outside the picture were left out, draw them again: {pictures}",
    "unreadable": "Boxes that are not four numbers were left out: {pictures}",
    "pixels": "Boxes were left out because their numbers are not shares from 0 to 1; if they are pixels, use COCO, "
    "LabelMe or LayoutSAM: {pictures}",
    "shape": "Boxes were left out because they were made for a picture of another shape; use the picture they were "
    "drawn on: {pictures}",
}


@dataclass(frozen=True)
class Marked:
    """The boxes of one picture as a file states them: left, top, right, bottom (None where that could not be read),
    each with a caption (None where a YOLO class has no name).

    `pixels` says whether the numbers are pixels, of a picture of `size` if the file knows it, or shares of the upright
    picture.
    """

    boxes: tuple[tuple[Box | None, str | None], ...]
    pixels: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Seen:
    """The picture that boxes are for: what it is called, its upright size, and its file or the bytes of it."""

    name: str
    size: tuple[int, int]
    file: bytes | Path


@dataclass
class BoxReader:
    """Makes regions of boxes, and keeps what is to be said about it, one sentence of a kind for all pictures."""

    _said: dict[str, Counter[str]] = field(default_factory=dict)

    def regions(self, marked: Marked | None, picture: Seen) -> tuple[Region, ...]:
        """The regions of a picture, in the order of the file."""
        if marked is None or not marked.boxes:
            return ()
        shares = self._shares(marked, picture)
        if shares is None:
            return ()
        found = [self._region(box, caption, picture) for box, caption in shares]
        regions = [region for region in found if region]
        if len(regions) > MAX_REGIONS:
            self._say("beyond", picture)
        elif len(regions) > READ_REGIONS:
            self._say("many", picture)
        if alike([region.box for region in regions[:MAX_REGIONS]]):
            self._say("alike", picture)
        return tuple(regions[:MAX_REGIONS])

    @property
    def notes(self) -> list[str]:
        """What was done, and what a person would want to know."""
        return self._sentences(_NOTES)

    @property
    def rejected(self) -> list[str]:
        """What could not be used."""
        return self._sentences(_REJECTED)

    def _shares(self, marked: Marked, picture: Seen) -> list[tuple[Box | None, str | None]] | None:
        """The boxes as shares of the upright picture; None when they are not of this picture."""
        if not marked.pixels:
            sides = [abs(side) for box, _ in marked.boxes if box for side in box]
            if max(sides, default=0) > _FARTHEST_SHARE:
                self._say("pixels", picture)
                return None
            return list(marked.boxes)
        width, height = marked.size or picture.size
        orientation = _orientation((width, height), picture)
        if orientation is None:
            self._say("shape", picture)
            return None
        if orientation > 1:
            self._say("stored", picture)
        scale = (width, height, width, height)
        return [(box and _turned(_divided(box, scale), orientation), caption) for box, caption in marked.boxes]

    def _region(self, box: Box | None, caption: str | None, picture: Seen) -> Region | None:
        if box is None:
            self._say("unreadable", picture)
            return None
        left, right = sorted((box[0], box[2]))
        top, bottom = sorted((box[1], box[3]))
        if (left, top, right, bottom) != box:
            self._say("inverted", picture)
        if right <= 0 or bottom <= 0 or left >= 1 or top >= 1:
            self._say("outside", picture)
            return None
        width, height = picture.size
        # Less than half a pixel is rounding.
        if max(-left, right - 1) * width > 0.5 or max(-top, bottom - 1) * height > 0.5:
            self._say("cut", picture)
        left, top, right, bottom = (round(min(1.0, max(0.0, side)), 6) for side in (left, top, right, bottom))
        if (right - left) * width < 0.999 or (bottom - top) * height < 0.999:
            self._say("thin", picture)
            return None
        if caption is None:
            self._say("unnamed", picture)
        text = clean(caption or "")
        if len(text) > MAX_CAPTION:
            self._say("long", picture)
        return Region((left, top, right, bottom), text[:MAX_CAPTION].rstrip())

    def _say(self, kind: str, picture: Seen) -> None:
        self._said.setdefault(kind, Counter())[picture.name] += 1

    def _sentences(self, kinds: Mapping[str, str]) -> list[str]:
        sentences = []
        for kind in kinds:
            names = [name if count == 1 else f"{name} ({count})" for name, count in self._said.get(kind, {}).items()]
            if names:
                sentences.append(kinds[kind].format(pictures=some(names)))
        return sentences


def alike(boxes: Sequence[Box]) -> bool:
    """Whether two of the boxes share nearly all of their area."""
    if len(boxes) < 2:
        return False
    sides = np.array(boxes)
    low, high = sides[:, :2], sides[:, 2:]
    both = np.clip(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0, None).prod(-1)
    area = (high - low).prod(-1)
    share = both / (area[:, None] + area - both)
    return bool((np.triu(share, 1) > _ALIKE).any())


def _divided(box: Box, scale: Box) -> Box:
    left, top, right, bottom = (side / length for side, length in zip(box, scale, strict=True))
    return left, top, right, bottom


def _orientation(size: tuple[int, int], picture: Seen) -> int | None:
    """How boxes drawn on a picture of this size are turned to fit the upright one (an EXIF orientation; 1: not at all);
    None when it is not this picture.

    The size decides, for formats do not say: programs draw on the upright picture or on the stored one, and give its
    size. A square or one turned upside down is taken to be upright.
    """
    width, height = picture.size
    if size == (width, height):
        return 1
    known = {(width, height): 1}
    try:
        stored = stored_orientation(picture.file)
    except ProblemsError:  # Taken out by somebody else in this moment.
        stored = 1
    if stored > 4:
        known.setdefault((height, width), stored)
    if size in known:
        return known[size]
    for (across, down), orientation in known.items():
        if abs(size[0] * down / (size[1] * across) - 1) <= _SAME_SHAPE:
            return orientation
    return None


def _turned(box: Box, orientation: int) -> Box:
    """A box on the stored picture as it lies on the upright one; both in shares. `orientation` is 1 or 5 to 8."""
    left, top, right, bottom = box
    match orientation:
        case 5:
            return top, left, bottom, right
        case 6:
            return 1 - bottom, left, 1 - top, right
        case 7:
            return 1 - bottom, 1 - right, 1 - top, 1 - left
        case 8:
            return top, 1 - right, bottom, 1 - left
    return box
