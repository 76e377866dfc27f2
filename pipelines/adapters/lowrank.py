"""What an adapter holds: for a layer a product of two thin matrices, for a parameter trained whole its value."""

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

    def idle(self) -> bool:
        """Whether it changes nothing, whatever the base."""
        return not self.scale or not bool(self.up.any())


@dataclass(frozen=True)
class Whole:
    """A parameter that was trained itself: its value at strength 1. At strength s it is W0 + s (value - W0)."""

    value: Tensor
    rank: int = 0

    def norm(self) -> float:
        """Frobenius norm of the value; what it adds depends on the base."""
        return float(self.value.double().norm())

    def finite(self) -> bool:
        """Whether every number in it is one."""
        return bool(torch.isfinite(self.value).all())

    def idle(self) -> bool:
        """Whether it changes nothing, whatever the base."""
        return False


# Keyed by full module name, component first: unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q; a
# parameter trained whole by its own: transformer.layout_processor.null_text
Layers = dict[str, LowRank | Whole]


def low_rank(layers: Layers) -> dict[str, LowRank]:
    """The layers with thin matrices."""
    return {name: layer for name, layer in layers.items() if isinstance(layer, LowRank)}


def wholes(layers: Layers) -> dict[str, Whole]:
    """The parameters trained whole."""
    return {name: layer for name, layer in layers.items() if isinstance(layer, Whole)}
