"""How many bytes a run needs, counted before it starts.

The base is built without weights (PyTorch's meta device) and one real training step is traced on it, so that shapes,
and with them bytes, are exact for what is traced; allocator slack and library buffers are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from . import registry
from .adapters.attach import attach, train_along
from .bases import find_base
from .config import RunConfig
from .data.readers import READERS
from .devices import pick_device, pick_dtype
from .randomness import Randomness


@dataclass(frozen=True)
class Estimate:
    """Bytes of each part of a run, and the floating point operations of one optimizer step."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    cache_per_sample: int
    parameters: int
    step_flops: int

    @property
    def total(self) -> int:
        """Bytes while training (the cache of encoded samples lies on disk and in memory on top)."""
        return self.weights + self.adapter + self.gradients + self.optimizer + self.activations


def estimate(config: RunConfig) -> Estimate:
    """Count the bytes of a run of this config. Raises ProblemsError for a base that is not on this machine."""
    family = registry.create(config.family, config.options)
    meta = torch.device("meta")
    dtype = pick_dtype(config.train.precision, pick_device(config.train.device))
    parts = family.load(find_base(config.base), meta, torch.float32)
    loaded = {id(p): p for module in _modules(parts) for p in module.parameters()}
    element = torch.empty((), dtype=dtype).element_size()
    adapter = attach(parts.model, family.targets(parts), config.adapter, config.train.seed, extra=parts.extra)
    train_along(adapter, family.aids(parts))
    frozen = sum(p.numel() for p in loaded.values() if not p.requires_grad)
    parameters = adapter.parameters().values()
    for parameter in parameters:
        parameter.data = parameter.data.to(meta)
    count = sum(p.numel() for p in parameters)
    encoded = family.encode(parts, READERS[family.reads].stand_in(parts, config))
    batch = {
        name: value.to(meta).unsqueeze(0).expand(config.train.batch_size, *value.shape)
        for name, value in encoded.items()
    }
    ids = tuple(str(i) for i in range(config.train.batch_size))
    known = {p.untyped_storage()._cdata for p in (*loaded.values(), *parameters)}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            saved[storage._cdata] = tensor.numel() * min(element, tensor.element_size())
        return tensor

    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = family.loss(parts, batch, Randomness(config.train.seed, 0, ids))
        loss.backward()
    return Estimate(
        weights=frozen * element,
        adapter=count * 4,
        gradients=count * 4,
        optimizer=count * 8 + (count * 4 if config.train.ema else 0),
        activations=sum(saved.values()),
        cache_per_sample=sum(value.numel() * value.element_size() for value in encoded.values()),
        parameters=count,
        step_flops=counter.get_total_flops() * config.train.accumulation,
    )


def room(device: torch.device) -> tuple[int, int]:
    """Free and total bytes of a device's memory, within the limit that a container may have set."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    import psutil

    memory = psutil.virtual_memory()
    free, total = memory.available, memory.total
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free, total = min(free, limit - used), min(total, limit)
    except (OSError, ValueError):  # no such limit here
        pass
    return free, total


def _modules(parts: Any) -> list[torch.nn.Module]:
    inner = vars(parts.rest.get("pipeline", object())) if hasattr(parts.rest.get("pipeline"), "__dict__") else {}
    others = [module for module in inner.values() if isinstance(module, torch.nn.Module)]
    return [*parts.model.values(), *parts.extra.values(), *others]
