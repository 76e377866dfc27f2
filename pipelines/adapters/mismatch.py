"""Saying in one sentence what an adapter file is, when it is not what was asked for."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .headers import header_configs

if TYPE_CHECKING:
    from torch import Tensor

XL = "Stable Diffusion XL"
# Cross-attention width -> which Stable Diffusion has it.
WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: XL}
# The variant a tensor belongs to, by its name.
_VARIANTS = {
    "DoRA": r"dora_scale|lora_magnitude_vector",
    "LoHa": r"\.hada_",
    "LoKr": r"\.lokr_",
    "OFT or BOFT": r"\.b?oft_",
    "LoCon with Tucker decomposition": r"\.lora_mid\.",
    "IA3": r"\.on_input$|\.ia3_",
    "GLoRA": r"\.[ab][12]\.weight$",
    "VeRA": r"\.vera_lambda",
    "AdaLoRA": r"\.lora_E(\.|$)",
    "full-weight difference": r"\.(diff|diff_b|w_norm|b_norm)$",
    "LoRA with biases": r"\.lora_(B|up)(\.\w+)?\.bias$",
    "LoRA with trained token embeddings": r"bundle_emb|emb_params|lora_embedding_",
}
_DIT = ("double_blocks", "single_blocks", "joint_blocks", "single_transformer_blocks", "lora_transformer_")
# PEFT initializations that change the base's own weights: their matrices mean nothing on the original base.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def variant_problems(tensors: Iterable[str], metadata: Mapping[str, str]) -> list[str]:
    """One sentence for each variant in the file that is not plain LoRA."""
    examples: dict[str, list[str]] = {}
    for key in tensors:
        variant = next((name for name, mark in _VARIANTS.items() if re.search(mark, key)), None)
        if variant:
            examples.setdefault(variant, []).append(key)
    found = [
        f"the file is a {variant} adapter ({len(keys)} tensors such as {keys[0]}) and only LoRA can be read; "
        "convert it to LoRA in the tool that made it"
        for variant, keys in examples.items()
    ]
    for config in header_configs(metadata, []).values():
        kind = str(config.get("peft_type") or "LORA").rpartition(".")[2]
        if kind.upper() != "LORA":
            found.append(f"the file is a PEFT adapter of type {kind} and only LORA can be read")
        start = str(config.get("init_lora_weights", "")).lower()
        if start.startswith(_CHANGES_BASE):
            found.append(
                f"the adapter was trained with init_lora_weights={start}, which changes the base's weights; "
                "convert it with PEFT's path_initial_model_for_weight_conversion when saving"
            )
    return found


def headline(stems: Mapping[str, Mapping[str, Tensor]], modules: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The common reason behind many mismatches, as a list of at most one sentence."""
    file_width = cross_attention_width(
        {stem: tuple(parts["down"].shape) for stem, parts in stems.items() if "down" in parts}
    )
    base_width = cross_attention_width(modules)
    if file_width and base_width and file_width != base_width:
        kind = WIDTHS.get(file_width, "another base")
        base = f" ({WIDTHS[base_width]})" if base_width in WIDTHS else ""
        return [
            f"This adapter was made for {kind} (cross-attention width {file_width}), the base has {base_width}{base}; "
            "choose the base it was trained on"
        ]
    has_unet = any(module.startswith("unet.") for module in modules)
    if has_unet and any(mark in stem for stem in stems for mark in _DIT):
        return [
            "This adapter was made for a diffusion transformer such as FLUX or Stable Diffusion 3, the base has a UNet"
        ]
    if has_unet and any(re.search(r"(^|[._])model[._]layers[._]\d", stem) for stem in stems):
        return ["This adapter was made for a language model, the base makes pictures"]
    if base_width is None and file_width:
        return [f"This adapter was made for {WIDTHS.get(file_width, 'a UNet')}, the base is something else"]
    return []


def cross_attention_width(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Width of the text embedding a UNet (or its adapter: `down` shapes) attends to; None without such layers."""
    widths = collections.Counter(
        shape[1]
        for name, shape in shapes.items()
        if re.search(r"attn2[._](processor[._])?to_[kv]$", name) and len(shape) > 1
    )
    return widths.most_common(1)[0][0] if widths else None
