"""Rank-stabilized LoRA (Kalajdzievski 2023): scale alpha / sqrt(r), so that a large rank does not learn slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import LoraConfig

    from ..config import AdapterConfig


def peft_config(config: AdapterConfig, names: Sequence[str]) -> LoraConfig:
    from . import lora

    found = lora.peft_config(config, names)
    found.use_rslora = True
    return found
