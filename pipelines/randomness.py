"""Randomness as a pure function of (seed, step, sample id): no state to save, none to lose.

A run that is killed at any step and resumed draws the same numbers, and so does a run split over processes, because
each sample's draws depend on its own id and not on its neighbours in the batch.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def derive(*key: object) -> int:
    """A 63-bit integer that depends on every part of the key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def shuffled(items: list[int], *key: object) -> list[int]:
    """The items in an order that depends only on the key."""
    result = list(items)
    random.Random(derive("shuffle", *key)).shuffle(result)
    return result


@dataclass(frozen=True)
class Randomness:
    """The draws of one batch: `ids` names its rows, each name once (a repeated sample gets a suffix)."""

    seed: int
    step: int
    ids: tuple[str, ...]

    def _generators(self, purpose: str) -> list[torch.Generator]:
        import torch

        # Drawn on the CPU on every device, so that a seed means the same everywhere.
        return [torch.Generator().manual_seed(derive(self.seed, self.step, purpose, name)) for name in self.ids]

    def normal(self, purpose: str, like: Tensor) -> Tensor:
        """Standard normal, shaped like `like` (first dimension: samples)."""
        import torch

        rows = [torch.randn(like.shape[1:], generator=g) for g in self._generators(purpose)]
        return torch.stack(rows).to(like.device, like.dtype)

    def uniform(self, purpose: str) -> Tensor:
        """Uniform in [0, 1), float32, (B,), on the CPU."""
        import torch

        return torch.cat([torch.rand(1, generator=g) for g in self._generators(purpose)])
