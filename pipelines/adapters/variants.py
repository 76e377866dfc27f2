"""Variants of LoRA by name. Each is a module with `peft_config(config, names) -> peft.PeftConfig`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ..errors import ProblemsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import LoraConfig

    from ..config import AdapterConfig

VARIANTS = {
    "lora": "pipelines.adapters.lora",
    "rslora": "pipelines.adapters.rslora",
}


def peft_config(config: AdapterConfig, names: Sequence[str]) -> LoraConfig:
    """PEFT's configuration of a variant for the layers called `names`."""
    if config.variant not in VARIANTS:
        raise ProblemsError(f"adapter.variant is {config.variant!r}, must be one of {', '.join(VARIANTS)}")
    found: LoraConfig = importlib.import_module(VARIANTS[config.variant]).peft_config(config, names)
    return found
