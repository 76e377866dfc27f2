"""Random drawings with dark outlines and flat fills, so that the autoencoder has seen line art (but not OpenMoji)."""

from __future__ import annotations

import colorsys
import math
import random

import numpy as np
from PIL import Image, ImageDraw

from .emoji import SIZE


def _colour(rng: random.Random) -> tuple[int, int, int]:
    if rng.random() < 0.2:
        grey = rng.choice((255, 255, 208, 160, 96, 40))
        return grey, grey, grey
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.35, 1.0), rng.uniform(0.45, 1.0))
    return round(r * 255), round(g * 255), round(b * 255)


def _blob(rng: random.Random, centre: tuple[float, float], radius: float, points: int) -> list[tuple[float, float]]:
    turn = rng.uniform(0, math.tau)
    return [
        (
            centre[0] + radius * rng.uniform(0.5, 1.0) * math.cos(turn + i * math.tau / points),
            centre[1] + radius * rng.uniform(0.5, 1.0) * math.sin(turn + i * math.tau / points),
        )
        for i in range(points)
    ]


def line_drawing(seed: int) -> Image.Image:
    """One drawing, a pure function of its seed: 128 x 128 RGB on white."""
    rng = random.Random(seed)
    scale = 3
    picture = Image.new("RGB", (SIZE * scale, SIZE * scale), "white")
    pen = ImageDraw.Draw(picture)
    ink = rng.choice([(0, 0, 0)] * 4 + [(40, 30, 30), (20, 30, 80)])
    width = round(rng.uniform(1.5, 5) * scale)
    for _ in range(rng.randint(3, 9)):
        radius = rng.uniform(8, 52) * scale
        x, y = (rng.uniform(20, SIZE - 20) * scale for _ in range(2))
        fill = _colour(rng) if rng.random() < 0.75 else None
        kind = rng.random()
        box = (x - radius, y - radius * rng.uniform(0.4, 1), x + radius, y + radius * rng.uniform(0.4, 1))
        if kind < 0.3:
            pen.ellipse(box, fill=fill, outline=ink, width=width)
        elif kind < 0.5:
            pen.rounded_rectangle(box, radius * rng.uniform(0, 0.3), fill=fill, outline=ink, width=width)
        elif kind < 0.75:
            points = _blob(rng, (x, y), radius, rng.randint(3, 8))
            pen.polygon(points, fill=fill)
            pen.line([*points, points[0], points[1]], fill=ink, width=width, joint="curve")
        elif kind < 0.9:
            start = rng.uniform(0, 360)
            pen.arc(box, start, start + rng.uniform(60, 300), fill=ink, width=width)
        else:
            pen.line(_blob(rng, (x, y), radius, rng.randint(2, 5)), fill=ink, width=width, joint="curve")
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def line_drawings(count: int) -> np.ndarray:
    """`count` drawings as uint8 (count, 128, 128, 3)."""
    return np.stack([np.asarray(line_drawing(seed)) for seed in range(count)])
