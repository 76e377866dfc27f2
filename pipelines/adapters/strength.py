"""Strength: the run-time multiplier a person chooses. Scale (alpha / r) is fixed by training and never touched here.

A layer computes W0 x + sum over adapters of strength * scale * B A x. Strength 0 takes the adapter out of the sum, so
that it costs nothing and the output has the very bits of the base. A parameter that was trained whole is
W0 + sum of strength * (W - W0): W0 itself at 0, and W itself at 1. PEFT's own `set_scale`, `set_adapters` and
`scale_layer` are not used: they lose the trained scale in several cases (see docs/strength.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import ProblemsError, shown
from .attach import Attached

# One number; one per row of the batch (a ladder); or one of these per group of layers, where the empty name stands for
# the groups that are not named (1 without it).
Strength = float | Sequence[float] | Mapping[str, float | Sequence[float]]


@contextmanager
def strengths(adapters: Sequence[Attached], values: Mapping[str, Strength]) -> Iterator[None]:
    """Run the body with each adapter at its strength; adapters that `values` does not name are off.

    A sequence gives every row of the batch its own strength: the batch must hold a multiple of that many rows, row
    index fastest; adapters with parameters trained whole take sequences of one only. Raises ProblemsError for an
    unknown adapter or group, or a strength that is not finite.
    """
    _check(adapters, values)
    bases = [(parameter, parameter.data) for adapter in adapters for parameter in adapter.whole.values()]
    handles = []
    layers: dict[int, tuple[Any, list[tuple[Attached, str]]]] = {}
    for adapter in adapters:
        for path, layer in adapter.layers.items():
            layers.setdefault(id(layer), (layer, []))[1].append((adapter, path))
    try:
        for layer, entries in layers.values():
            active, rows = [], {}
            for adapter, path in entries:
                value = _for_group(values.get(adapter.name, 0.0), adapter.groups[path])
                if isinstance(value, Sequence):
                    if any(value):
                        active.append(adapter.name)
                        rows[adapter.name] = torch.tensor([adapter.scales[path] * s for s in value])
                elif value != 0:
                    active.append(adapter.name)
                    layer.scaling[adapter.name] = adapter.scales[path] * value
            # PEFT's set_adapter would also switch requires_grad, which is the trainer's business.
            layer._active_adapter = active
            if rows:
                handles.append(layer.register_forward_pre_hook(_per_row(rows)))
        _move(adapters, values)
        yield
    finally:
        for parameter, base in bases:
            parameter.data = base
        for handle in handles:
            handle.remove()
        for layer, entries in layers.values():
            for adapter, path in entries:
                layer.scaling[adapter.name] = adapter.scales[path]
            layer._active_adapter = [adapter.name for adapter, _ in entries]


def _move(adapters: Sequence[Attached], values: Mapping[str, Strength]) -> None:
    """Give the parameters that were trained whole what they have at these strengths."""
    terms: dict[int, tuple[torch.nn.Parameter, list[tuple[float, torch.Tensor]]]] = {}
    for adapter in adapters:
        for path, trained in adapter.values.items():
            value = _for_group(values.get(adapter.name, 0.0), adapter.groups[path])
            if isinstance(value, Sequence):
                (value,) = value
            if value:
                parameter = adapter.whole[path]
                terms.setdefault(id(parameter), (parameter, []))[1].append((value, trained))
    for parameter, found in terms.values():
        base = parameter.data.float()
        moved = [strength * (trained.float() - base) for strength, trained in found]
        alone = len(found) == 1 and found[0][0] == 1
        parameter.data = (found[0][1] if alone else base + sum(moved)).to(parameter.dtype)


def _per_row(rows: Mapping[str, torch.Tensor]) -> Any:
    """A hook that spreads row strengths over the batch and the other dimensions of what the layer is about to see."""

    def hook(layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        for name, values in rows.items():
            copies, rest = divmod(x.shape[0], len(values))
            if rest:
                raise ValueError(f"got a batch of {x.shape[0]} rows, expected a multiple of {len(values)} strengths")
            dtype = layer.lora_B[name].weight.dtype
            layer.scaling[name] = values.to(x.device, dtype).repeat(copies).view(-1, *[1] * (x.ndim - 1))

    return hook


def _for_group(value: Strength, group: str) -> float | Sequence[float]:
    if isinstance(value, Mapping):
        return value.get(group, value.get("", 1.0))
    return value


def _check(adapters: Sequence[Attached], values: Mapping[str, Strength]) -> None:
    known = {adapter.name: adapter for adapter in adapters}
    problems = []
    for name, value in values.items():
        if name not in known:
            problems.append(f"strength is given for adapter {name!r}, attached are {', '.join(known) or 'none'}")
            continue
        parts = value if isinstance(value, Mapping) else {"": value}
        for group, part in parts.items():
            if group and group not in known[name].groups.values():
                groups = ", ".join(sorted(set(known[name].groups.values())))
                problems.append(f"strength is given for group {group!r}, adapter {name} has {groups}")
            problems.extend(_number_problems(f"strength of {name}", part if isinstance(part, Sequence) else [part]))
    if problems:
        raise ProblemsError(problems)


def check_numbers(name: str, values: Sequence[float]) -> None:
    """Raise ProblemsError with every value that is no strength; `name` is what the sentences call them."""
    problems = _number_problems(name, values)
    if problems:
        raise ProblemsError(problems)


def _number_problems(name: str, values: Sequence[Any]) -> list[str]:
    return [
        f"{name} is {shown(value)}, must be a number from -4 to 4"
        for value in values
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -4 <= value <= 4
    ]
