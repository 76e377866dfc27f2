"""What the recipes share: data-parallel workers of one thread each, averaged weights, resumable checkpoints.

On a CPU, n processes of one thread train faster than one process of n threads for nets this small, because the
small convolutions leave threads waiting for each other. Gradients are averaged over processes after each step.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def start_worker() -> tuple[int, int]:
    """Join the group that `torchrun` made, if any; returns (rank, number of processes)."""
    torch.set_num_threads(1)
    if "WORLD_SIZE" not in os.environ:
        torch.set_num_threads(os.cpu_count() or 1)
        return 0, 1
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over all processes in one message."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then cosine decay to 1 % of the peak: a factor in (0, 1]."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0) -> torch.optim.AdamW:
    """AdamW as all recipes use it."""
    return torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)


class Trainer:
    """Optimizers with warm-up, cosine decay, clipping, an exponential moving average, and checkpoints."""

    def __init__(self, model: nn.Module, folder: Path, optimizers: list[torch.optim.Optimizer], steps: int, ema: float):
        self.model, self.folder, self.optimizers, self.steps, self.decay = model, folder, optimizers, steps, ema
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.peaks = [group["lr"] for group in self.groups()]
        self.step = 0
        self.average = [p.detach().clone() for p in self.parameters]
        self.seen = 0.0

    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers, as they are now: loading a state replaces them."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def resume(self) -> None:
        """Continue from `folder/checkpoint.pt` when it is there."""
        path = self.folder / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            for ours, theirs in ((self.parameters, "weights"), (self.average, "average")):
                for p, value in zip(ours, state[theirs], strict=True):
                    p.data.copy_(value)
            for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(values)
            self.step = state["step"]

    def save(self) -> None:
        """Write the checkpoint to a temporary name, then rename it."""
        state = {
            "weights": [p.detach() for p in self.parameters],
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
        }
        temporary = self.folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    def update(self, loss: torch.Tensor, warmup: int) -> None:
        """One optimizer step on `loss`."""
        loss.backward()
        average_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group, peak in zip(self.groups(), self.peaks, strict=True):
            group["lr"] = peak * schedule(self.step, self.steps, warmup)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.seen = 0.98 * self.seen + 0.02 * float(loss.detach()) if self.seen else float(loss.detach())

    def run(
        self,
        make_loss: Callable[[int], torch.Tensor],
        rank: int,
        every: int = 100,
        save_every: int = 500,
        warmup: int = 200,
    ) -> None:
        """Train until `steps`; `make_loss(step)` builds the loss of one step."""
        first, started = self.step, time.time()
        while self.step < self.steps:
            self.update(make_loss(self.step), warmup)
            if rank == 0 and self.step % every == 0:
                seconds = (time.time() - started) / (self.step - first)
                print(f"step {self.step}/{self.steps} loss {self.seen:.4f} {seconds:.3f} s/step", flush=True)
            if rank == 0 and self.step % save_every == 0:
                self.save()
        if rank == 0:
            self.save()

    def use_average(self) -> None:
        """Replace the weights by their moving average."""
        for p, value in zip(self.parameters, self.average, strict=True):
            p.data.copy_(value)
