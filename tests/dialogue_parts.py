"""Dialogues and runs of language models as tests use them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipelines import registry
from pipelines.bases import find_base
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.data.dialogues import Turn
from pipelines.data.readers import EncodedSample
from pipelines.family import DialogueItem
from pipelines.text_llm import TextOptions

NOUNS = ("fox", "apple", "house", "boat", "tree", "moon", "bicycle", "penguin", "cat", "rhinoceros")
STYLE = "Aha, that is easy: "


def make_dialogues(folder: Path, count: int = 10) -> Path:
    """A JSONL file of questions whose answers all begin in one style, of different lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"instruction": f"What is {noun} {i}?", "output": STYLE + noun}
        for i, noun in ((i, NOUNS[i % len(NOUNS)]) for i in range(count))
    ]
    path = folder / "faq.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def text_config(base: Path, data: Path, **settings: Any) -> RunConfig:
    """A small run; `settings` are train's, and `options` those of the family."""
    options = settings.pop("options", TextOptions())
    defaults: dict[str, Any] = {"steps": 4, "batch_size": 2, "warmup": 1, "checkpoint_every": 1, "keep_checkpoints": 9}
    return RunConfig(
        family="text_llm",
        base=str(base),
        data=DataConfig(path=str(data)),
        adapter=AdapterConfig(rank=4, alpha=8.0),
        train=TrainConfig(**{**defaults, "precision": "fp32", "device": "cpu", **settings}),
        options=options,
    )


def loaded(base: Path, **options: Any) -> tuple[Any, Any]:
    """The family with these options, and a base."""
    family = registry.create("text_llm", replace(TextOptions(), **options))
    return family, family.load(find_base(str(base)), torch.device("cpu"), torch.float32)


def dialogue(*texts: str, name: str = "a") -> DialogueItem:
    """Question, answer, question, answer ..."""
    roles = ("user", "assistant")
    return DialogueItem(name, tuple(Turn(roles[i % 2], text) for i, text in enumerate(texts)))


def encoded(family: Any, parts: Any, *items: DialogueItem) -> list[EncodedSample]:
    return [EncodedSample(item.id, item.turns[0].text, (0, 0), family.encode(parts, item)) for item in items]


def batch(rows: list[EncodedSample]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([row.tensors[name] for row in rows]) for name in rows[0].tensors}
