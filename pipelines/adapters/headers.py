"""The scale of a layer as the header of an adapter file states it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .names import canonical

# Where diffusers keeps its LoraConfig; the content of a PEFT folder's adapter_config.json is put there when read.
HEADER_KEY = "lora_adapter_metadata"


class Scales:
    """Scales from `lora_adapter_metadata`; without it alpha is the rank and every scale 1."""

    def __init__(self, metadata: Mapping[str, str]):
        self.problems: list[str] = []
        self.configs = header_configs(metadata, self.problems)
        for name, config in self.configs.items():
            alphas = {"lora_alpha": config.get("lora_alpha"), **_pattern(config, "alpha_pattern")}
            for key, alpha in alphas.items():
                if alpha is not None and not _is_number(alpha):
                    where = f"{name}.{key}" if name else key
                    self.problems.append(f"the header's {where} is {alpha!r}, must be a finite number")

    def scale(self, module: str, rank: int) -> float:
        """alpha / rank, or alpha / sqrt(rank) where the header says rsLoRA."""
        component, _, rest = module.partition(".")
        config = self.configs.get(component, self.configs.get(""))
        if config is None:
            return 1.0
        alpha = config.get("lora_alpha", 8)  # PEFT's own default
        for pattern, value in _pattern(config, "alpha_pattern").items():
            if _names_layer(pattern, rest) or _names_layer(pattern, canonical(module)[1]):
                alpha = value
                break
        if not _is_number(alpha):
            return 1.0  # already among the problems
        return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def header_configs(metadata: Mapping[str, str], problems: list[str]) -> dict[str, dict[str, Any]]:
    """LoraConfig fields by component; under the empty name those that apply to all."""
    text = metadata.get(HEADER_KEY)
    if text is None:
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        problems.append(f"the header's {HEADER_KEY} is not a JSON object, so the adapter's scale is unknown")
        return {}
    found: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        component, _, name = key.rpartition(".")
        found.setdefault(component, {})[name] = value
    return found


def _pattern(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    return value if isinstance(value, dict) else {}


def _names_layer(pattern: str, layer: str) -> bool:
    """Whether an alpha_pattern key means this layer.

    PEFT runs the key as a regular expression. A stranger's file gets to run none here, and what trainers write are
    plain (escaped) names.
    """
    plain = pattern.replace("\\", "")
    if plain.startswith("^"):
        return layer == plain[1:]
    return layer == plain or layer.endswith("." + plain)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
