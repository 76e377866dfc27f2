"""How VoRA lets a language model see (Vision as LoRA, Wang et al. 2025, arXiv 2503.20680): patches become vectors that
stand among the word embeddings. There is no vision tower; the blocks of the language model do the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

_EPSILON = 1e-5


class VisionEmbedding(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] to vectors (B, N, hidden), N = H/patch * W/patch in reading order.

    A picture of another size than `size` gets the learned positions interpolated in two dimensions.
    """

    def __init__(self, size: int, patch: int, width: int, hidden: int):
        super().__init__()
        if size % patch:
            raise ValueError(f"got pictures of {size} px, expected a multiple of the patch of {patch} px")
        self.size, self.grid = size, size // patch
        self.patch = nn.Conv2d(3, width, patch, stride=patch)
        self.norm = nn.RMSNorm(width, eps=_EPSILON)
        self.positions = nn.Parameter(torch.zeros(1, self.grid**2, width))
        self.projection = nn.Linear(width, hidden, bias=False)

    @property
    def tokens(self) -> int:
        """Vectors of a picture of the usual size."""
        return self.grid**2

    def start(self, seed: int, scale: float) -> None:
        """Random weights that depend on the seed only, such that vectors come out with elements of about `scale`, as
        those of words have."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.patch.weight.normal_(std=self.patch.weight[0].numel() ** -0.5, generator=generator)
            self.patch.bias.zero_()
            self.norm.weight.fill_(1)
            self.positions.normal_(std=0.02, generator=generator)
            self.projection.weight.normal_(std=scale * self.projection.in_features**-0.5, generator=generator)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch(pixels.to(self.patch.weight.dtype))
        rows, columns = patches.shape[-2:]
        vectors = self.norm(patches.flatten(2).transpose(1, 2))
        return self.projection(vectors + resized(self.positions, (self.grid, self.grid), (rows, columns)))


class DistillHeads(nn.ModuleList):
    """One head a block, from its hidden states to what the teacher's block would say; thrown away after training."""

    def __init__(self, blocks: int, hidden: int, width: int):
        super().__init__(
            nn.Sequential(nn.RMSNorm(hidden, eps=_EPSILON), nn.Linear(hidden, width, bias=False)) for _ in range(blocks)
        )

    def start(self, seed: int) -> None:
        """Random weights that depend on the seed only."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for norm, linear in self:
                norm.weight.fill_(1)
                linear.weight.normal_(std=linear.in_features**-0.5, generator=generator)

    def forward(self, states: Sequence[Tensor]) -> list[Tensor]:
        return [head(each.to(head[1].weight.dtype)) for head, each in zip(self, states, strict=True)]


def resized(vectors: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Vectors (B, rows * columns, C) of one grid on another, by bilinear interpolation in both directions."""
    if grid == wanted:
        return vectors
    plane = vectors.transpose(1, 2).unflatten(2, grid)
    plane = interpolate(plane, size=wanted, mode="bilinear", align_corners=False, antialias=True)
    return plane.flatten(2).transpose(1, 2)
