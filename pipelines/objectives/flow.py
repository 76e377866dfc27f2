"""Rectified flow, a straight line from data at t = 0 to noise at t = 1 (Liu et al. 2022; Esser et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor


def add_noise(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) x0 + t noise (Esser et al. 2024, eq. 13); t: (B,), in [0, 1]."""
    column = t.to(x0.device, x0.dtype).view(-1, *[1] * (x0.ndim - 1))
    return (1 - column) * x0 + column * noise


def shifted(t: Tensor, shift: float) -> Tensor:
    """Times moved towards noise for a shift above 1, which large pictures want (Esser et al. 2024, eq. 23)."""
    return shift * t / (1 + (shift - 1) * t)


def target(x0: Tensor, noise: Tensor) -> Tensor:
    """The velocity dx_t/dt = noise - x0 that the net should predict, the same for every t."""
    return noise - x0


def logit_normal(u: Tensor, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
    """Times in [0, 1] whose logit is normal (Esser et al. 2024, sec. 3.1), from uniform draws u in [0, 1).

    Middle times come often, where predicting is hard; a mean above 0 moves them towards noise. Evenly spread draws give
    evenly spread quantiles, so stratified draws stay stratified.
    """
    return torch.sigmoid(mean + deviation * torch.special.ndtri(u))
