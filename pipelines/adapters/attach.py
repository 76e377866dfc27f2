"""Attaching adapters to a loaded base, and reading or writing their weights.

PEFT does the wrapping; what is added here is the bookkeeping the rest needs: full names, groups, trained scales.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from ..errors import ProblemsError
from ..randomness import derive
from .lowrank import Layers, LowRank, Whole, low_rank, wholes
from .variants import peft_config

if TYPE_CHECKING:
    from ..config import AdapterConfig


# What the names of parameters begin with that leave when training is over.
AID = "aid:"
_ROWWISE = 2**24


class TargetLike(Protocol):
    """A pattern over full module names and the group its layers belong to."""

    @property
    def pattern(self) -> str: ...
    @property
    def group(self) -> str: ...


@dataclass
class Attached:
    """One adapter on a model: its PEFT layers by full name, the group of each, and the scale it was trained with.

    `whole` are the parameters of the model that it trains themselves. When it is finished, `values` are theirs at
    strength 1, and outside of `strengths` they are the base's; `roots` are the largest modules that have no others.
    `aids` are parameters that only training needs: they learn with it, and are in its checkpoints but not in its file.
    """

    name: str
    layers: dict[str, Any]
    groups: dict[str, str]
    scales: dict[str, float]
    whole: dict[str, nn.Parameter] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    roots: list[nn.Module] = field(default_factory=list)
    aids: dict[str, nn.Parameter] = field(default_factory=dict)

    @property
    def rowwise(self) -> bool:
        """Whether every row of a batch may have a strength of its own. Of parameters trained whole each row needs a
        copy, so it may not where they are many, nor where other parameters stand between them."""
        covered = {parameter for root in self.roots for parameter in root.parameters()}
        return covered >= set(self.whole.values()) and sum(p.numel() for p in covered) <= _ROWWISE

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by name, in a fixed order."""
        found: dict[str, nn.Parameter] = {}
        for path in sorted(self.layers):
            layer = self.layers[path]
            found[f"{path}.down"] = layer.lora_A[self.name].weight
            found[f"{path}.up"] = layer.lora_B[self.name].weight
        found |= {name: self.whole[name] for name in sorted(self.whole)}
        return found | {AID + name: self.aids[name] for name in sorted(self.aids)}

    def weights(self) -> Layers:
        """Copies of the current weights on the CPU."""
        found: Layers = {name: Whole(parameter.detach().cpu().clone()) for name, parameter in self.whole.items()}
        return found | {
            path: LowRank(
                down=layer.lora_A[self.name].weight.detach().cpu().clone(),
                up=layer.lora_B[self.name].weight.detach().cpu().clone(),
                scale=self.scales[path],
            )
            for path, layer in self.layers.items()
        }

    def dropout(self, training: bool) -> None:
        """Turn the adapter's dropout on or off; the base stays in eval mode."""
        for layer in self.layers.values():
            dropout = layer.lora_dropout[self.name]
            # Without dropout these are identities: nothing to switch, thousands of times a run.
            if isinstance(dropout, nn.Dropout):
                dropout.train(training)


def adaptable(model: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Every layer an adapter can be attached to, by full name: `unet.down_blocks.0...` -> its base module."""
    found: dict[str, nn.Module] = {}
    for component, root in model.items():
        for path, module in root.named_modules():
            if isinstance(module, LoraLayer):
                found[f"{component}.{path}"] = module.get_base_layer()
            elif (
                isinstance(module, (nn.Linear, nn.Conv2d)) and ".base_layer" not in f".{path}" and ".lora_" not in path
            ):
                found[f"{component}.{path}"] = module
    return found


def shapes(model: Mapping[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    """Weight shapes of all adaptable layers, by full name."""
    return {name: tuple(module.weight.shape) for name, module in adaptable(model).items()}


def whole_parameters(extra: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Every parameter of modules that are trained whole, by full name."""
    return {f"{path}.{name}": value for path, module in extra.items() for name, value in module.named_parameters()}


def whole_shapes(extra: Mapping[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters of modules that are trained whole, by full name."""
    return {name: tuple(value.shape) for name, value in whole_parameters(extra).items()}


def match(names: Iterable[str], targets: Sequence[TargetLike]) -> dict[str, str]:
    """Full layer name -> group, for every layer that a target names (the first that does)."""
    found = {}
    for name in names:
        group = next((target.group for target in targets if re.fullmatch(target.pattern, name)), None)
        if group is not None:
            found[name] = group
    return found


def match_all(model: Mapping[str, nn.Module], targets: Sequence[TargetLike]) -> dict[str, str]:
    """`match` over a model's layers. Raises ProblemsError naming each target that matches none: a typo must not train
    nothing in silence."""
    groups = match(adaptable(model), targets)
    problems = [
        f"target {target.pattern} ({target.group}) matches no layer of this base; is it the right kind of base?"
        for target in targets
        if not match(groups, [target])
    ]
    if problems:
        raise ProblemsError(problems)
    return groups


def attach(
    model: Mapping[str, nn.Module],
    targets: Sequence[TargetLike],
    config: AdapterConfig,
    seed: int,
    name: str = "in_training",
    extra: Mapping[str, nn.Module] | None = None,
) -> Attached:
    """Attach a new adapter for training. Its first output is the base's (B is zero); A depends only on `seed`. The
    modules `extra`, which are parts of the model, are trained whole."""
    groups = match_all(model, targets)
    devices = [p.device for p in next(iter(model.values())).parameters()][:1]
    with torch.random.fork_rng(devices=[d for d in devices if d.type == "cuda"]):
        torch.manual_seed(derive(seed, "adapter"))
        for component, paths in _by_component(groups).items():
            _inject(model[component], peft_config(config, paths), name)
    attached = _collect(model, name, groups)
    attached.whole = whole_parameters(extra or {})
    _learn(attached.parameters())
    return attached


def train_along(attached: Attached, aids: Mapping[str, nn.Module]) -> None:
    """Train modules with a new adapter that nobody needs when it is finished."""
    attached.aids = whole_parameters(aids)
    _learn(attached.aids)


def _learn(parameters: Mapping[str, nn.Parameter]) -> None:
    for parameter in parameters.values():
        # Adapters are trained in fp32 whatever the base is stored in: small updates vanish in half precision.
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)


def attach_weights(model: Mapping[str, nn.Module], weights: Layers, groups: Mapping[str, str], name: str) -> Attached:
    """Attach a finished adapter, frozen. Layers that no group claims go to the group `other`."""
    layers = low_rank(weights)
    for component, paths in _by_component(layers).items():
        ranks = {path: layers[f"{component}.{path}"].rank for path in paths}
        usual = max(ranks.values())
        different = {re.escape(path): rank for path, rank in ranks.items() if rank != usual}
        config = LoraConfig(r=usual, lora_alpha=usual, target_modules=paths, rank_pattern=different)
        _inject(model[component], config, name)
    attached = _collect(model, name, {path: groups.get(path, "other") for path in layers})
    for path, layer in attached.layers.items():
        weight = layer.get_base_layer().weight
        for pair, value in ((layer.lora_A, layers[path].down), (layer.lora_B, layers[path].up)):
            pair[name].weight = nn.Parameter(value.to(weight.device, _adapter_dtype(weight.dtype)), requires_grad=False)
        attached.scales[path] = layer.scaling[name] = layers[path].scale
    for path, whole in wholes(weights).items():
        component, _, inner = path.partition(".")
        parameter = model[component].get_parameter(inner)
        attached.groups[path] = groups.get(path, "other")
        attached.whole[path], attached.values[path] = parameter, whole.value.to(parameter.device)
    attached.roots = [root for module in model.values() for root in _roots(module, set(attached.whole.values()))]
    attached.dropout(False)
    return attached


def _roots(module: nn.Module, whole: set[nn.Parameter]) -> list[nn.Module]:
    """The largest modules inside a module that have these parameters and no others."""
    parameters = set(module.parameters())
    if not parameters & whole:
        return []
    return [module] if parameters <= whole else [root for child in module.children() for root in _roots(child, whole)]


def _adapter_dtype(base: torch.dtype) -> torch.dtype:
    return base if base in (torch.bfloat16, torch.float16) else torch.float32


def detach(model: Mapping[str, nn.Module], attached: Attached) -> None:
    """Remove an adapter from its layers, which stay wrapped: without adapters they compute the base."""
    for layer in attached.layers.values():
        layer.delete_adapter(attached.name)
    for root in model.values():
        getattr(root, "peft_config", {}).pop(attached.name, None)


def _by_component(names: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for full in names:
        component, _, path = full.partition(".")
        found.setdefault(component, []).append(path)
    return found


def _inject(root: nn.Module, config: LoraConfig, name: str) -> None:
    with warnings.catch_warnings():
        # PEFT warns about a second adapter on the same model, which is what mixing is.
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, root, name)


def _collect(model: Mapping[str, nn.Module], name: str, groups: Mapping[str, str]) -> Attached:
    layers = {}
    for full in groups:
        component, _, path = full.partition(".")
        layers[full] = model[component].get_submodule(path)
    scales = {full: float(layer.scaling[name]) for full, layer in layers.items()}
    return Attached(name, layers, dict(groups), scales)


def copy_into(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Overwrite parameters in place; raises KeyError when a name is missing."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])
