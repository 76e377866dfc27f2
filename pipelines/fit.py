"""Whether an adapter fits a base, and what its layers do there: from the base's shapes alone where that is possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import registry
from .adapters.attach import match, shapes, whole_shapes
from .adapters.file import read_adapter
from .adapters.lowrank import Layers
from .bases import find_base
from .config import RunConfig
from .devices import pick_device
from .family import Parts


@dataclass(frozen=True)
class Fit:
    """An adapter's layers, the group of each, and the base they were matched to (its weights may be missing)."""

    layers: Layers
    groups: dict[str, str]
    modules: Mapping[str, tuple[int, ...]]
    parts: Parts
    whole: Mapping[str, tuple[int, ...]]

    @property
    def rank(self) -> int | None:
        """The rank of all layers, or None when they differ."""
        ranks = {layer.rank for layer in self.layers.values()}
        return ranks.pop() if len(ranks) == 1 else None

    def table(self) -> list[dict[str, Any]]:
        """One row a layer, by group: name, group, rank, and the norm of what it adds at strength 1. A parameter trained
        whole has rank 0 and the norm of its value."""
        rows = [
            {"layer": name, "group": self.groups.get(name, "other"), "rank": layer.rank, "norm": layer.norm()}
            for name, layer in self.layers.items()
        ]
        return sorted(rows, key=lambda row: str(row["group"]))


def fit(path: Path, config: RunConfig, weights: bool = False) -> Fit:
    """Match an adapter file or PEFT folder to the base of a config.

    The base's weights are loaded where its shapes cannot be had otherwise (a single file, a Hub id), or when asked
    for. Raises ProblemsError with everything that does not fit.
    """
    import torch

    family = registry.create(config.family, config.options)
    base = find_base(config.base)
    on_meta = not weights and base.path is not None and base.path.is_dir()
    parts = family.load(base, torch.device("meta") if on_meta else pick_device("cpu"), torch.float32)
    modules, whole = shapes(parts.model), whole_shapes(parts.extra)
    layers = read_adapter(path, modules, whole)
    return Fit(layers, match(layers, family.groups(parts)), modules, parts, whole)
