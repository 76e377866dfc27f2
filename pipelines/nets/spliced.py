"""Pictures among words: where their vectors stand in a sequence, and who may look at whom.

What a batch of sequences holds is told by a tensor `image` (B, T): WORD at words, PADDING at padding, and k at every
token of the row's k-th picture. The tokens of a picture stand together, the pictures in order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WORD, PADDING = -1, -2


def attention_mask(image: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, 1, T, T), to be added to attention scores: 0 where a query (third dimension) may look, else as low as can be.

    Everybody sees what came before, a picture also all of itself, nobody padding. Two pictures side by side stay two.
    It is no boolean mask: eager attention adds whatever it is given, and true would count as 1.
    """
    order = torch.arange(image.shape[1], device=image.device)
    causal = order.unsqueeze(1) >= order.unsqueeze(0)
    same = (image.unsqueeze(2) == image.unsqueeze(1)) & (image >= 0).unsqueeze(2)
    allowed = (causal | same) & (image != PADDING).unsqueeze(1)
    return torch.where(allowed, 0.0, torch.finfo(dtype).min).to(dtype).unsqueeze(1)


def see(vision: nn.Module, pixels: Tensor) -> Tensor:
    """Vectors (B, N, V, H) of the N pictures (B, N, 3, H, W) of each row. The vision embedding gets a batch in which
    the row is the fastest index, as the rows of a batch are everywhere."""
    vectors: Tensor = vision(pixels.transpose(0, 1).flatten(0, 1))
    return vectors.unflatten(0, pixels.shape[1::-1]).transpose(0, 1)


def places(image: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Where in each row its first `tokens` picture tokens stand, in order: (B, tokens); and which of these there are.
    The others point at words, no two of a row at the same."""
    words = (image < 0).to(torch.uint8)
    found = words.argsort(dim=1, stable=True)[:, :tokens]
    return found, ~words.bool().gather(1, found)


def at(values: Tensor, found: Tensor) -> Tensor:
    """Values (B, T, C) at places (B, S)."""
    return values.gather(1, found.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def splice(words: Tensor, image: Tensor, vectors: Tensor) -> Tensor:
    """Word embeddings (B, T, H) with the vectors (B, N, V, H) of pictures at their places; a row may have fewer
    pictures than the N there is room for."""
    flat = vectors.flatten(1, 2).to(words.dtype)
    found, there = places(image, flat.shape[1])
    kept = torch.where(there.unsqueeze(-1), flat, at(words, found))
    return words.scatter(1, found.unsqueeze(-1).expand_as(kept), kept)
