"""Adapter layers to and from the tensor names of other tools.

Written files are alpha-invariant: the scale is multiplied into `up`, so that strength 1 means the same to readers that
look at `.alpha`, at a header, or at neither.
"""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import ProblemsError
from .headers import Scales
from .lowrank import Layers, LowRank, Whole, low_rank, wholes
from .mismatch import headline, variant_problems
from .names import Names, canonical, split_key

_KOHYA_COMPONENTS = {
    False: {"unet": "lora_unet_", "text_encoder": "lora_te_"},
    True: {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"},
}
# The size embedding of SDXL: the only UNet layers whose diffusers names stock diffusers cannot find again.
_KOHYA_NAMES = {"add_embedding.linear_1": "label_emb_0_0", "add_embedding.linear_2": "label_emb_0_2"}


def to_diffusers(layers: Layers, dtype: torch.dtype) -> dict[str, Tensor]:
    """Diffusers/PEFT names: `unet.….lora_A.weight` (r, in, …) and `.lora_B.weight` (out, r, …); no alpha anywhere.
    Parameters trained whole have the names they have in the base."""
    found = {name: whole.value.to(dtype).contiguous().clone() for name, whole in wholes(layers).items()}
    for module, layer in low_rank(layers).items():
        down, up = _pair(layer, layer.rank, dtype)
        name = ".".join(canonical(module))
        found[f"{name}.lora_A.weight"] = down
        found[f"{name}.lora_B.weight"] = up
    return found


def to_kohya(layers: Layers, dtype: torch.dtype, xl: bool) -> dict[str, Tensor]:
    """Kohya names: `lora_unet_….lora_down.weight`, `.lora_up.weight`, `.alpha`; text encoders `lora_te_` or, for XL,
    `lora_te1_` and `lora_te2_`.

    Every `.alpha` of a component is the same number, the rank most of its layers have: stock diffusers mixes alphas up
    when they differ. Raises ProblemsError for components this form has no name for.
    """
    _refuse_wholes(layers, "kohya")
    prefixes = _KOHYA_COMPONENTS[xl]
    foreign = sorted({module.partition(".")[0] for module in layers} - set(prefixes))
    if foreign:
        kind = "Stable Diffusion XL" if xl else "Stable Diffusion 1.x and 2.x"
        raise ProblemsError(
            f"the kohya form for {kind} holds {', '.join(prefixes)} and has no name for {', '.join(foreign)}; "
            "export the diffusers form instead"
        )
    ranks: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for module, layer in layers.items():
        ranks[module.partition(".")[0]][layer.rank] += 1
    found = {}
    for module, layer in low_rank(layers).items():
        component, rest = canonical(module)
        alpha = max(ranks[component].items(), key=lambda item: (item[1], item[0]))[0]
        down, up = _pair(layer, alpha, dtype)
        name = prefixes[component] + _KOHYA_NAMES.get(rest, rest).replace(".", "_")
        found[f"{name}.lora_down.weight"] = down
        found[f"{name}.lora_up.weight"] = up
        found[f"{name}.alpha"] = torch.tensor(float(alpha))
    return found


def to_peft(layers: Layers, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The two files of a PEFT folder: the content of adapter_config.json and the tensors of adapter_model.safetensors.

    Raises ProblemsError when the layers belong to more than one component: a PEFT folder holds one model.
    """
    _refuse_wholes(layers, "PEFT")
    components = sorted({module.partition(".")[0] for module in layers})
    if len(components) != 1:
        raise ProblemsError(
            f"a PEFT folder holds one model, this adapter has layers in {', '.join(components) or 'none'}; "
            "export the diffusers form instead"
        )
    ranks = {module.partition(".")[2]: layer.rank for module, layer in layers.items()}
    usual = collections.Counter(ranks.values()).most_common(1)[0][0]
    different = {re.escape(name): rank for name, rank in ranks.items() if rank != usual}
    config = {
        "peft_type": "LORA",
        "r": usual,
        "lora_alpha": usual,
        "rank_pattern": different,
        "alpha_pattern": different,
        "target_modules": sorted(ranks),
        "use_rslora": False,
        "use_dora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    tensors = {}
    for module, layer in low_rank(layers).items():
        down, up = _pair(layer, layer.rank, dtype)
        name = "base_model.model." + module.partition(".")[2]
        tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = down, up
    return config, tensors


def _refuse_wholes(layers: Layers, form: str) -> None:
    found = list(wholes(layers))
    if found:
        raise ProblemsError(
            f"{len(found)} parameters such as {found[0]} were trained whole and the {form} form holds only LoRA; "
            "export the diffusers form or a merged base instead"
        )


def _pair(layer: LowRank, alpha: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """down and up such that alpha / rank * up @ down is the layer's update."""
    down, up = layer.down.float(), layer.up.float() * (layer.scale * layer.rank / alpha)
    if dtype == torch.float16:
        # A young `up` with a small scale sinks below what fp16 resolves (6e-5). Moving a power of two from one matrix
        # to the other changes no product.
        largest = [float(part.abs().max()) for part in (down, up)]
        if min(largest) > 0 and all(map(math.isfinite, largest)):
            shift = round(math.log2(largest[0] / largest[1]) / 2)
            down, up = torch.ldexp(down, torch.tensor(-shift)), torch.ldexp(up, torch.tensor(shift))
    return down.to(dtype).contiguous().clone(), up.to(dtype).contiguous().clone()


@dataclass
class Match:
    """What a file's tensors mean for a base: its layers, every problem, and how many modules matched nothing."""

    layers: Layers = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unmatched: int = 0


def read_layers(
    tensors: Mapping[str, Tensor], modules: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] | None = None
) -> Layers:
    """The layers in a file of any known LoRA form, keyed by the base's full module names, in float32.

    `modules` maps every adaptable layer of the base to its weight's shape. `metadata` is the file's header; a missing
    alpha means alpha = rank. Raises ProblemsError with every unmatched name, wrong shape, missing partner, NaN and
    unsupported variant at once.
    """
    found = match_layers(tensors, modules, metadata)
    if found.problems:
        raise ProblemsError(found.problems)
    return found.layers


def match_layers(
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str] | None = None,
    whole: Mapping[str, tuple[int, ...]] | None = None,
) -> Match:
    """`read_layers` that collects problems in place of raising them. `whole` are the shapes of the base's parameters
    that a file may hold as they are."""
    found = Match(problems=variant_problems(tensors, metadata or {}))
    if found.problems:
        found.unmatched = len(tensors)
        return found
    stems: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        split = split_key(key)
        if key in (whole or {}):
            _read_whole(found, key, tensor, (whole or {})[key])
        elif split is None:
            found.problems.append(f"{key}: not a LoRA tensor; the file is damaged or of a kind that is not supported")
            found.unmatched += 1
        elif split[1] in stems.setdefault(split[0], {}):
            found.problems.append(f"{key}: the same matrix occurs twice under different names")
        else:
            stems[split[0]][split[1]] = tensor
    if not stems and not found.layers and not found.problems:
        found.problems.append("the file holds no LoRA tensors")
    names, scales = Names(modules), Scales(metadata or {})
    found.problems.extend(scales.problems)
    owners: dict[str, str] = {}
    for stem, parts in stems.items():
        module = names.find(stem)
        if module is None:
            found.problems.append(f"{stem}: the base has no such layer")
            found.unmatched += 1
        elif module in owners:
            found.problems.append(f"{stem}: means the layer that {owners[module]} already fills")
        else:
            owners[module] = stem
            problem = _read_layer(found.layers, module, parts, (modules[module], scales))
            if problem:
                found.problems.append(f"{stem}: {problem}")
    if found.problems:
        found.problems[:0] = headline(stems, modules)
    return found


def _read_whole(found: Match, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Put one parameter trained whole into what was found, or what is wrong with it."""
    if tuple(value.shape) != shape or not value.is_floating_point():
        found.problems.append(f"{name}: is {tuple(value.shape)} of {value.dtype}, the base's is {shape}")
    elif not torch.isfinite(value).all():
        found.problems.append(f"{name}: holds NaN or infinite numbers; the training that made it diverged")
    else:
        found.layers[name] = Whole(value.float())


def _read_layer(
    layers: Layers, module: str, parts: Mapping[str, Tensor], base: tuple[tuple[int, ...], Scales]
) -> str | None:
    """Put one layer into `layers`, or say what is wrong with it."""
    shape, scales = base
    for part, partner in (("down", "up"), ("up", "down")):
        if part not in parts:
            got = f"a {partner} matrix" if partner in parts else "an alpha"
            return f"has {got} but no {part} matrix; the file is incomplete"
    down, up = parts["down"], parts["up"]
    if not (down.is_floating_point() and up.is_floating_point()):
        return f"numbers are {down.dtype} and {up.dtype}, must be floating point"
    rank = down.shape[0] if down.ndim else 0
    fits = (
        rank > 0
        and _plain(down) == _plain(torch.empty(rank, *shape[1:], device="meta"))
        and _plain(up) == (shape[0], rank)
    )
    if not fits:
        got = f"down {tuple(down.shape)} and up {tuple(up.shape)}"
        return f"shapes are {got}, the base's layer is {tuple(shape)}"
    layer = LowRank(
        down.float().reshape(rank, *shape[1:]), up.float().reshape(shape[0], rank, *[1] * (len(shape) - 2)), 1
    )
    if not layer.finite():
        return "holds NaN or infinite numbers; the training that made it diverged"
    alpha = parts.get("alpha")
    if alpha is not None and (alpha.numel() != 1 or not math.isfinite(float(alpha.item()))):
        return "its alpha is not one finite number"
    scale = float(alpha.item()) / rank if alpha is not None else scales.scale(module, rank)
    layers[module] = LowRank(layer.down, layer.up, scale)
    return None


def _plain(tensor: Tensor) -> tuple[int, ...]:
    """The shape with the trailing ones of a 1 x 1 convolution left out: trainers store such layers either way."""
    shape = tuple(tensor.shape)
    return shape[:2] if all(size == 1 for size in shape[2:]) else shape
