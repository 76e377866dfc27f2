"""The update one layer learns: a product of two thin matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LowRank:
    """The update of one layer: delta W = scale * up @ down.

    Linear: down (r, in), up (out, r). Conv2d: down (r, in, kh, kw), up (out, r, 1, 1). `scale` is alpha / r (rsLoRA:
    alpha / sqrt(r)).
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def rank(self) -> int:
        """Width of the update."""
        return int(self.down.shape[0])

    def delta(self) -> Tensor:
        """What is added to the layer's weight at strength 1: float32, in the shape of that weight."""
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return self.scale * product.reshape(self.up.shape[0], *self.down.shape[1:])

    def norm(self) -> float:
        """Frobenius norm of delta W, without building it."""
        down, up = self.down.double().flatten(1), self.up.double().flatten(1)
        square = float(((down @ down.T) * (up.T @ up)).sum())
        return abs(self.scale) * math.sqrt(max(0.0, square))

    def folded(self) -> LowRank:
        """The same update with scale 1, the scale multiplied into `up` (float32)."""
        return LowRank(self.down, self.up.float() * self.scale, 1.0)

    def finite(self) -> bool:
        """Whether every number in it is one."""
        return bool(torch.isfinite(self.down).all() and torch.isfinite(self.up).all())


# Keyed by full module name, component first: unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q
Layers = dict[str, LowRank]
