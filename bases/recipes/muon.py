"""Muon for the recipes: matrices are stepped along the orthogonal part of their momentum (Jordan et al. 2024).

On `emoji-sd` it reaches a given loss with about half of AdamW's pictures. torch.optim.Muon takes no convolutions and
computes in bf16, which CPUs without native bf16 do 200 times slower than fp32.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Quintic of the reference implementation: singular values in (0, 1] end up near 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


def orthogonalize(matrix: Tensor) -> Tensor:
    """`matrix` (m, n) with all its singular values moved near 1, by Newton-Schulz steps.

    The steps are polynomials of the Gram matrix, so they are taken on that small square and applied to the long
    matrix once at the end.
    """
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    identity = torch.eye(len(gram))
    whole = identity
    for _ in range(_ROUNDS):
        step = _A * identity + _B * gram + _C * (gram @ gram)
        whole = step @ whole
        gram = step @ gram @ step
    x = whole @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; a convolution's kernel is one matrix (out, in * height * width).

    With several processes each orthogonalizes its share of the matrices.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        for group in self.param_groups:
            parameters = group["params"]
            ends = [0]
            for p in parameters:
                ends.append(ends[-1] + p.numel())
            updates = torch.zeros(ends[-1])
            by_cost = sorted(range(len(parameters)), key=lambda i: -parameters[i].numel())
            for place, i in enumerate(by_cost):
                p = parameters[i]
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - group["momentum"])
                if place % processes == rank:
                    ahead = p.grad.lerp(momentum, group["momentum"]).flatten(1)
                    rows, columns = ahead.shape
                    direction = orthogonalize(ahead) * max(1.0, rows / columns) ** 0.5
                    updates[ends[i] : ends[i + 1]] = direction.flatten()
            if processes > 1:
                dist.all_reduce(updates)
            for p, (start, end) in zip(parameters, pairwise(ends), strict=True):
                p.add_(updates[start:end].view_as(p), alpha=-group["lr"])
