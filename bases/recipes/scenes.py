"""Scenes of one to four emoji with a box around each: what `emoji-mmdit` learns from.

Scene i of a seed is a pure function of (seed, i): nothing is stored, and a seed never used in training gives layouts
that no training saw.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from pipelines.data.regions import Region
from pipelines.randomness import derive

from .emoji import SIZE, TRAINING_STYLES, Noun

COUNT_WEIGHTS = (0.25, 0.35, 0.25, 0.15)  # of scenes with one, two, three and four things
SIDES = ((0.3, 0.9), (0.28, 0.62), (0.25, 0.5), (0.25, 0.45))  # longer side of a thing in them, as a share of SIZE
OVERLAP = 0.05  # at most this share of the smaller box lies in another
COLOURED = 0.2
PAPERS = {
    "pink": (255, 224, 230),
    "yellow": (255, 246, 205),
    "green": (222, 244, 216),
    "blue": (215, 233, 250),
    "grey": (236, 236, 236),
}
_WHITE = 250
_TRIES = 40

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Thing:
    """A noun (its place in the list, and its word) and the pixels its drawing takes: left, top, right, bottom."""

    index: int
    word: str
    box: Box


@dataclass(frozen=True)
class Scene:
    """What is where, in which style, on which paper; `paper` is a name in PAPERS, or empty for white."""

    style: str
    paper: str
    things: tuple[Thing, ...]

    @cached_property
    def boxes(self) -> np.ndarray:
        """(things, 4) float32, xyxy in [0, 1]."""
        return np.array([thing.box for thing in self.things], np.float32) / SIZE

    def regions(self) -> tuple[Region, ...]:
        """The layout as a person would write it."""
        return tuple(
            Region(tuple(side / SIZE for side in thing.box), region_captions(thing.word, self.style)[0])
            for thing in self.things
        )


def region_captions(word: str, style: str) -> tuple[str, str, str]:
    """Three ways to caption a region, the plain one first."""
    return f"a {word}", word, f"a {word}, {style}"


def scene_caption(scene: Scene, rng: random.Random) -> str:
    """One way to say a scene, things in any order; sometimes without the style or the paper."""
    words = [f"a {thing.word}" for thing in scene.things]
    rng.shuffle(words)
    text = " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])
    if len(words) < 3 and rng.random() < 0.3:
        text = rng.choice(("a picture of ", "a drawing of ")) + text
    if scene.paper and rng.random() < 0.8:
        text += f" on {scene.paper}"
    return text if rng.random() < 0.08 else f"{text}, {scene.style}"


class World:
    """Makes scenes from drawings, uint8 (nouns, styles, 128, 128, 3) on white."""

    def __init__(self, drawings: np.ndarray, nouns: list[Noun], styles: Sequence[str] = TRAINING_STYLES):
        self.drawings, self.nouns, self.styles = drawings, nouns, styles
        drawn = drawings.min(axis=-1) < _WHITE
        self.bounds = [[_bounds(one) for one in drawings_of_noun] for drawings_of_noun in drawn]
        self._cut_out = lru_cache(maxsize=None)(self._cut_out_once)

    def scene(self, seed: int, number: int) -> Scene:
        """Scene `number` of a seed, without its pixels."""
        rng = random.Random(derive("scene", seed, number))
        style = rng.randrange(len(self.styles))
        count = rng.choices(range(len(SIDES)), COUNT_WEIGHTS)[0]
        things: list[Thing] = []
        for index in rng.sample(range(len(self.nouns)), count + 1):
            box = self._place(self.bounds[index][style], SIDES[count], [thing.box for thing in things], rng)
            if box:
                things.append(Thing(index, self.nouns[index].word, box))
        paper = rng.choice(list(PAPERS)) if rng.random() < COLOURED else ""
        return Scene(self.styles[style], paper, tuple(things))

    def draw(self, scene: Scene) -> Image.Image:
        """The picture of a scene, 128 x 128 RGB."""
        canvas = Image.new("RGB", (SIZE, SIZE), PAPERS.get(scene.paper, (255, 255, 255)))
        for thing in scene.things:
            drawing, edge = self._cut_out(thing.index, self.styles.index(scene.style))
            size = (thing.box[2] - thing.box[0], thing.box[3] - thing.box[1])
            drawing, edge = drawing.resize(size, Image.Resampling.LANCZOS), edge.resize(size)
            # White paper takes on the colour below it, and so does its share in the pixels of the outline.
            outline = ImageChops.multiply(canvas.crop(thing.box), drawing)
            canvas.paste(Image.composite(outline, drawing, edge), thing.box)
        return canvas

    def _place(self, bounds: Box, sides: tuple[float, float], taken: list[Box], rng: random.Random) -> Box | None:
        """A free box with the shape of a drawing; None when none was found."""
        width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
        for _ in range(_TRIES):
            factor = rng.uniform(*sides) * SIZE / max(width, height)
            w, h = (max(1, round(side * factor)) for side in (width, height))
            x, y = rng.randint(0, SIZE - w), rng.randint(0, SIZE - h)
            box = (x, y, x + w, y + h)
            if all(overlap(box, other) <= OVERLAP for other in taken):
                return box
        return None

    def _cut_out_once(self, index: int, style: int) -> tuple[Image.Image, Image.Image]:
        """A drawing cropped to its bounds, and a mask of the paper around it and the two pixels beside the paper. White
        that is enclosed belongs to the drawing: it may be a penguin's belly."""
        pixels = self.drawings[index, style]
        paper = Image.fromarray(np.where(pixels.min(axis=-1) < _WHITE, 0, 255).astype(np.uint8)).copy()
        ImageDraw.floodfill(paper, (0, 0), 128)
        edge = paper.point(lambda value: 255 if value == 128 else 0).filter(ImageFilter.MaxFilter(5))
        box = self.bounds[index][style]
        return Image.fromarray(pixels).crop(box), edge.crop(box)


def overlap(one: Box, other: Box) -> float:
    """The share of the smaller box that lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0, width) * max(0, height) / area


def _bounds(drawn: np.ndarray) -> Box:
    """The tight box around what is drawn."""
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
