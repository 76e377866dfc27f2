"""LoRA (Hu et al. 2021): W0 + (alpha / r) B A, B zero at the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import LoraConfig

    from ..config import AdapterConfig


def peft_config(config: AdapterConfig, names: Sequence[str]) -> LoraConfig:
    from peft import LoraConfig

    return LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=list(names))
