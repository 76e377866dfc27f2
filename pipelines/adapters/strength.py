"""Strength: the run-time multiplier a person chooses. Scale (alpha / r) is fixed by training and never touched here.

A layer computes W0 x + sum over adapters of strength * scale * B A x. Strength 0 takes the adapter out of the sum, so
that it costs nothing and the output has the very bits of the base. A parameter that was trained whole is
W0 + sum of strength * (W - W0): W0 itself at 0, and W itself at 1. PEFT's own `set_scale`, `set_adapters` and
`scale_layer` are not used: they lose the trained scale in several cases (see docs/strength.md).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..errors import ProblemsError, shown
from .attach import Attached
from .marks import marks

# One number; one per row of the batch (a ladder); or one of these per group of layers, where the empty name stands for
# the groups that are not named (1 without it).
Plain = float | Sequence[float] | Mapping[str, float | Sequence[float]]


@dataclass(frozen=True)
class OnMarked:
    """A strength that counts for marked tokens alone (marks.py); at the others, layers compute the base to the bit.
    Parameters trained whole know no tokens: they have it everywhere."""

    strength: Plain


Strength = Plain | OnMarked


@dataclass(frozen=True)
class _Term:
    """An adapter in the sum of a layer: its name and strength times scale, of one row or of all; for marked tokens
    alone where `marked`."""

    name: str
    factors: Tensor
    marked: bool


@contextmanager
def strengths(adapters: Sequence[Attached], values: Mapping[str, Strength]) -> Iterator[None]:
    """Run the body with each adapter at its strength; adapters that `values` does not name are off.

    A sequence gives every row of the batch its own strength: the batch must hold a multiple of that many rows, row
    index fastest; an adapter that is not `rowwise` takes sequences of one only. Raises ProblemsError for an unknown
    adapter or group, or a strength that is not finite.
    """
    _check(adapters, values)
    layers: dict[int, tuple[Any, list[tuple[Attached, str]]]] = {}
    for adapter in adapters:
        for path, layer in adapter.layers.items():
            layers.setdefault(id(layer), (layer, []))[1].append((adapter, path))
    handles = []
    try:
        for layer, entries in layers.values():
            active, terms = [], []
            for adapter, path in entries:
                value, only = _asked(values, adapter, path)
                if isinstance(value, Sequence) or only:
                    rows = value if isinstance(value, Sequence) else [value]
                    if any(rows):
                        factors = torch.tensor([adapter.scales[path] * s for s in rows])
                        terms.append(_Term(adapter.name, factors, only))
                elif value != 0:
                    active.append(adapter.name)
                    layer.scaling[adapter.name] = adapter.scales[path] * value
            # PEFT's set_adapter would also switch requires_grad, which is the trainer's business.
            layer._active_adapter = active
            if terms:
                handles.append(layer.register_forward_pre_hook(_spread(active, terms)))
        with _moved(adapters, values):
            yield
    finally:
        for handle in handles:
            handle.remove()
        for layer, entries in layers.values():
            for adapter, path in entries:
                layer.scaling[adapter.name] = adapter.scales[path]
            layer._active_adapter = [adapter.name for adapter, _ in entries]


def _spread(always: Sequence[str], terms: Sequence[_Term]) -> Any:
    """A hook that spreads strengths over the rows, the marked tokens and the other dimensions of what the layer is
    about to see."""

    def hook(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        x, tokens, active = inputs[0], marks(), list(always)
        for term in terms:
            if term.marked and tokens is None:
                continue
            copies = _copies(x, len(term.factors))
            factors = term.factors.to(x.device, layer.lora_B[term.name].weight.dtype)
            factors = factors.repeat(copies).view(-1, *[1] * (x.ndim - 1))
            if term.marked and tokens is not None:
                if tokens.shape != x.shape[:2]:
                    raise ValueError(f"got {tuple(x.shape)}, expected the marked tokens' {tuple(tokens.shape)} first")
                factors = factors * tokens.view(*tokens.shape, *[1] * (x.ndim - 2))
            layer.scaling[term.name] = factors
            active.append(term.name)
        layer._active_adapter = active

    return hook


def _copies(rows: Tensor, count: int) -> int:
    """How often every strength stands in a batch."""
    copies, rest = divmod(rows.shape[0], count)
    if rest:
        raise ValueError(f"got a batch of {rows.shape[0]} rows, expected a multiple of {count} strengths")
    return copies


# What a parameter trained whole gets from each adapter: the strength of each row, or one for all; its value at 1.
_Moves = list[tuple[tuple[float, ...], Tensor]]


@contextmanager
def _moved(adapters: Sequence[Attached], values: Mapping[str, Strength]) -> Iterator[None]:
    """Inside, the parameters that were trained whole are what they are at these strengths."""
    moves: dict[nn.Parameter, _Moves] = {}
    for adapter in adapters:
        for path, trained in adapter.values.items():
            value, _ = _asked(values, adapter, path)
            rows = tuple(value) if isinstance(value, Sequence) else (value,)
            if any(rows):
                moves.setdefault(adapter.whole[path], []).append((rows, trained))
    count = math.lcm(1, *(len(rows) for found in moves.values() for rows, _ in found))
    # Computed once: a sampler may run the module many times.
    data = [{p: _at_row(p, found, row) for p, found in moves.items()} for row in range(count)]
    with contextlib.ExitStack() as stack:
        if count == 1:
            stack.enter_context(_holding(data[0]))
        else:
            for module in {root: None for adapter in adapters for root in adapter.roots}:
                stack.enter_context(_row_by_row(module, data))
        yield


def _at_row(parameter: nn.Parameter, moves: _Moves, row: int) -> Tensor:
    found = [(rows[row % len(rows)], trained) for rows, trained in moves if rows[row % len(rows)]]
    if not found:
        return parameter.data
    base = parameter.data.float()
    moved = [strength * (trained.float() - base) for strength, trained in found]
    alone = len(found) == 1 and found[0][0] == 1
    return (found[0][1] if alone else base + sum(moved)).to(parameter.dtype)


@contextmanager
def _holding(data: Mapping[nn.Parameter, Tensor]) -> Iterator[None]:
    """Inside, the parameters hold other data."""
    bases = {parameter: parameter.data for parameter in data}
    try:
        for parameter, value in data.items():
            parameter.data = value
        yield
    finally:
        for parameter, base in bases.items():
            parameter.data = base


@contextmanager
def _row_by_row(module: nn.Module, data: Sequence[Mapping[nn.Parameter, Tensor]]) -> Iterator[None]:
    """Inside, the module runs once for each of these, over every len(data)-th row of the tensors it is given."""
    forward: Callable[..., Any] = module.forward
    patched, count = "forward" in module.__dict__, len(data)

    def one(row: int, *inputs: Any) -> Any:
        positional, named = tree_map(lambda each: _every(each, row, count), inputs)
        with _holding(data[row]):
            return forward(*positional, **named)

    def each(*inputs: Any, **named: Any) -> Any:
        return tree_map(_joined, *(one(row, inputs, named) for row in range(count)))

    module.forward = each
    try:
        yield
    finally:
        if patched:
            module.forward = forward
        else:
            del module.forward


def _every(value: Any, row: int, count: int) -> Any:
    """Every `count`-th row of a tensor, from `row`; other things as they are."""
    return value[row::count] if isinstance(value, Tensor) and _copies(value, count) else value


def _joined(*rows: Any) -> Any:
    """The inverse of `_every`."""
    return torch.stack(rows, dim=1).flatten(0, 1) if isinstance(rows[0], Tensor) else rows[0]


def _asked(values: Mapping[str, Strength], adapter: Attached, path: str) -> tuple[float | Sequence[float], bool]:
    """The strength of one layer or parameter of an adapter, and whether it counts for marked tokens alone."""
    value = values.get(adapter.name, 0.0)
    only = isinstance(value, OnMarked)
    return _for_group(value.strength if isinstance(value, OnMarked) else value, adapter.groups[path]), only


def _for_group(value: Plain, group: str) -> float | Sequence[float]:
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
        plain = value.strength if isinstance(value, OnMarked) else value
        parts = plain if isinstance(plain, Mapping) else {"": plain}
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
