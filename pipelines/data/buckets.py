"""Aspect-ratio buckets: pictures of about the same shape are trained at the same size, with little cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.Image import Resampling, Transpose

if TYPE_CHECKING:
    from torch import Tensor

    from .regions import Region

MAX_ASPECT = 3.0
# Of a thing of which less is left in the crop, nobody would say that the picture shows it.
_MIN_VISIBLE = 0.25


@lru_cache(maxsize=256)
def _sides(resolution: int, multiple: int) -> tuple[tuple[int, int], ...]:
    """Pairs (long side, short side), the square first."""
    square = max(multiple, round(resolution / multiple) * multiple)
    # Coarser than `multiple`: a few buckets with many pictures each make better batches than many lonely ones.
    step = max(1, round(min(resolution / 8, max(64, resolution / 16)) / multiple)) * multiple
    pairs = [(square, square)]
    long = square + step
    while long <= resolution * math.sqrt(MAX_ASPECT) + multiple:
        short = max(multiple, round(resolution**2 / long / multiple) * multiple)
        # Where `multiple` is coarse, no short side may give the wanted area.
        if short < long <= MAX_ASPECT * short and 0.8 <= long * short / square**2 <= 1.25:
            pairs.append((long, short))
        long += step
    return tuple(pairs)


def bucket_for(width: int, height: int, resolution: int, multiple: int, enabled: bool = True) -> tuple[int, int]:
    """The size (width, height) at which a picture is trained, in pixels.

    Both sides are multiples of `multiple`, the area is about resolution squared, the aspect ratio lies in 1:3 to 3:1
    and is the nearest there is; a picture turned on its side gets the bucket turned on its side. Not `enabled`: the
    square, for every picture.
    """
    pairs = _sides(resolution, multiple)
    if not enabled:
        return pairs[0]
    aspect = math.log(max(width, height) / min(width, height))
    long, short = min(pairs, key=lambda pair: abs(math.log(pair[0] / pair[1]) - aspect))
    return (long, short) if width >= height else (short, long)


def crop_box(width: int, height: int, bucket: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred part of a picture that has the bucket's shape: (left, top, right, bottom).

    In pixels of the picture, fractions included, so that boxes can move along: x becomes
    (x - left) / (right - left) of the bucket's width.
    """
    scale = min(width / bucket[0], height / bucket[1])
    across, down = bucket[0] * scale, bucket[1] * scale
    left, top = (width - across) / 2, (height - down) / 2
    # Rounding must not push the box over the edge.
    return max(0.0, left), max(0.0, top), min(float(width), left + across), min(float(height), top + down)


def fit(picture: Image.Image, bucket: tuple[int, int], flip: bool = False) -> Image.Image:
    """The picture resized to cover the bucket, its centre kept; mirrored left to right when `flip`."""
    box = crop_box(*picture.size, bucket)
    fitted = picture.resize(bucket, Resampling.LANCZOS, box=box)
    return fitted.transpose(Transpose.FLIP_LEFT_RIGHT) if flip else fitted


def move_regions(
    regions: Sequence[Region], picture: tuple[int, int], bucket: tuple[int, int], flip: bool = False
) -> tuple[Region, ...]:
    """The regions of a picture (width, height) where `fit` shows them. What is cut off is gone: a box is cut at the
    edge, and one of which less than a quarter is left is left out."""
    window = [side / picture[i % 2] for i, side in enumerate(crop_box(*picture, bucket))]
    across, down = window[2] - window[0], window[3] - window[1]
    found = []
    for region in regions:
        box = region.box
        left, right = ((box[i] - window[0]) / across for i in (0, 2))
        top, bottom = ((box[i] - window[1]) / down for i in (1, 3))
        whole = (right - left) * (bottom - top)
        left, top, right, bottom = max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
        if left < right and top < bottom and (right - left) * (bottom - top) >= _MIN_VISIBLE * whole:
            if flip:
                left, right = 1 - right, 1 - left
            found.append(replace(region, box=(left, top, right, bottom)))
    return tuple(found)


def to_tensor(picture: Image.Image) -> Tensor:
    """Pixels as float32 in [-1, 1], shape (3, H, W)."""
    import torch

    pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    return pixels.permute(2, 0, 1).float().div(127.5).sub(1).contiguous()
