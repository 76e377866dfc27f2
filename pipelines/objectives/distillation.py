"""Learning from a teacher's hidden states, block by block (Vision as LoRA, arXiv 2503.20680)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity


def layer_map(blocks: int, teacher: int) -> list[int]:
    """Which of the teacher's blocks each block learns from, both counted from 0: the same one where they are as many,
    else evenly spread, the last from the last."""
    if blocks == 1:
        return [teacher - 1]
    return [round(block * (teacher - 1) / (blocks - 1)) for block in range(blocks)]


def cosine_loss(said: Tensor, taught: Tensor, there: Tensor) -> Tensor:
    """Loss of every row, (B,): the mean of 1 - cos over the tokens (B, S, C) that are `there` (B, S); 0 for a row that
    has none."""
    apart = 1 - cosine_similarity(said.float(), taught.float(), dim=-1)
    return (apart * there).sum(1) / there.sum(1).clamp_min(1)
