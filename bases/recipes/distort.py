"""The judge's distortions: pictures moved, bent, recoloured, softened and soiled as imperfect generated ones are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _uniform(rng: torch.Generator, count: int, low: float, high: float) -> Tensor:
    return torch.rand(count, generator=rng) * (high - low) + low


def outline(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Draw dark lines, 2 to 4 pixels wide, wherever a picture changes colour."""
    count = len(pixels)
    lines = []
    for width in (3, 5):
        pad = width // 2
        high = F.max_pool2d(pixels, width, 1, pad)
        lines.append((high + F.max_pool2d(-pixels, width, 1, pad)).amax(1, keepdim=True))
    thick = torch.rand(count, 1, 1, 1, generator=rng)
    edge = torch.lerp(lines[0], lines[1], thick)
    ink = torch.sigmoid((edge - _uniform(rng, count, 0.3, 0.8)[:, None, None, None]) * 12)
    return torch.lerp(pixels, torch.full_like(pixels, -1.0), ink)


def bend(pixels: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Rotate up to 15 degrees, scale 0.75 to 1.2, shift up to 10 %, half mirrored, and push about smoothly.

    The result has half the side: at 2:1, bilinear sampling is the mean of four pixels.
    """
    size = pixels.shape[-1] // 2
    count = len(pixels)
    angle = _uniform(rng, count, -15, 15) * strength * math.pi / 180
    scale = 1 / torch.exp(_uniform(rng, count, math.log(0.75), math.log(1.2)) * strength)
    mirror = torch.where(torch.rand(count, generator=rng) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = mirror * scale * angle.cos(), -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = mirror * scale * angle.sin(), scale * angle.cos()
    theta[:, :, 2] = (torch.rand(count, 2, generator=rng) - 0.5) * 0.4 * strength
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    push = torch.randn(count, 2, 5, 5, generator=rng) * _uniform(rng, count, 0, 0.05)[:, None, None, None] * strength
    grid = grid + F.interpolate(push, size=(size, size), mode="bicubic").permute(0, 2, 3, 1)
    # Shifted so that what comes in from outside (zero) is white paper.
    return F.grid_sample(pixels - 1, grid, align_corners=False) + 1


def recolour(pixels: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Change contrast, brightness and saturation, and tint the channels a little."""
    count = len(pixels)

    def factor(width: float) -> Tensor:
        return 1 + _uniform(rng, count, -width, width)[:, None, None, None] * strength

    paper = 1 - pixels
    grey = paper.mean(1, keepdim=True)
    paper = grey + (paper - grey) * factor(0.45)
    tint = 1 + (torch.rand(count, 3, 1, 1, generator=rng) - 0.5) * 0.3 * strength
    shade = _uniform(rng, count, -0.12, 0.12)[:, None, None, None] * strength
    return 1 - paper * factor(0.25) * tint - shade


def soften(pixels: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Lose fine detail as a weak decoder does: a random share of a picture's half-size version, and a light blur."""
    count, size = len(pixels), pixels.shape[-1]
    coarse = F.interpolate(pixels, scale_factor=0.5, mode="bilinear", antialias=True)
    coarse = F.interpolate(coarse, size=(size, size), mode="bilinear")
    share = _uniform(rng, count, -0.6, 0.9).clamp(min=0)[:, None, None, None] * strength
    return torch.lerp(pixels, coarse, share)


def soil(pixels: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """Add fine noise, blotches of colour and blocks as wide as a latent pixel; rub out a patch; each to some only."""
    count, size = len(pixels), pixels.shape[-1]

    def amount(high: float) -> Tensor:
        return _uniform(rng, count, -high, high).clamp(min=0)[:, None, None, None] * strength

    noise = torch.randn(pixels.shape, generator=rng) * amount(0.16)
    blotches = F.interpolate(torch.randn(count, 3, 6, 6, generator=rng), size=(size, size), mode="bicubic")
    blocks = F.interpolate(
        torch.randn(count, 3, size // 4, size // 4, generator=rng), size=(size, size), mode="nearest"
    )
    result = pixels + noise + blotches * amount(0.3) + blocks * amount(0.12)
    where = torch.linspace(-1, 1, size)
    centre = torch.rand(count, 2, generator=rng) * 1.6 - 0.8
    half = _uniform(rng, count, -0.3, 0.3).clamp(min=0) * strength
    patch = ((where[None, :, None] - centre[:, :1, None]).abs() < half[:, None, None]) & (
        (where[None, None, :] - centre[:, 1:, None]).abs() < half[:, None, None]
    )
    return torch.where(patch[:, None], 1.0, result)


def distort(pixels: Tensor, seed: int, strength: float = 1.0) -> Tensor:
    """All of them, a pure function of (pixels, seed): float [-1, 1], (B, 3, S, S) to (B, 3, S / 2, S / 2)."""
    rng = torch.Generator().manual_seed(seed)
    for change in (bend, recolour, soften, soil):
        pixels = change(pixels, rng, strength)
    return pixels.clamp(-1, 1)
