"""The denoising objective of DDPM-style models (epsilon-, v- and x0-prediction) with min-SNR weighting."""

from __future__ import annotations

import torch
from torch import Tensor


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device, like.dtype).view(-1, *[1] * (like.ndim - 1))


def add_noise(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(a) x0 + sqrt(1 - a) noise (Ho et al. 2020, eq. 4); alpha_bar: (B,)."""
    return _column(alpha_bar.sqrt(), x0) * x0 + _column((1 - alpha_bar).sqrt(), x0) * noise


def target(prediction_type: str, x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """What the net should predict; v = sqrt(a) noise - sqrt(1 - a) x0 (Salimans & Ho 2022, sec. 4)."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        return _column(alpha_bar.sqrt(), x0) * noise - _column((1 - alpha_bar).sqrt(), x0) * x0
    if prediction_type == "sample":
        return x0
    raise ValueError(f"prediction type is {prediction_type!r}, expected epsilon, v_prediction or sample")


def min_snr_weight(prediction_type: str, alpha_bar: Tensor, gamma: float) -> Tensor:
    """Loss weights (B,) that clamp the signal-to-noise ratio at gamma (Hang et al. 2023, sec. 3.4).

    gamma <= 0 means no weighting. For v-prediction the loss is weighted by min(snr, gamma) / (snr + 1), so that zero
    terminal SNR keeps a finite weight.
    """
    if gamma <= 0:
        return torch.ones_like(alpha_bar)
    snr = alpha_bar / (1 - alpha_bar).clamp_min(1e-12)
    clamped = snr.clamp(max=gamma)
    if prediction_type == "epsilon":
        # At zero SNR epsilon is all there is to predict: the limit of min(snr, gamma) / snr is 1.
        return torch.where(snr > 0, clamped / snr.clamp_min(1e-12), torch.ones_like(snr))
    if prediction_type == "v_prediction":
        return clamped / (snr + 1)
    return clamped
