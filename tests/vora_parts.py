"""Teachers, pictures with dialogues, and runs of VoRA as tests use them."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import ViTConfig, ViTModel

from pipelines import registry
from pipelines.bases import find_base
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.data.dialogues import PICTURE, Turn
from pipelines.data.readers import EncodedSample
from pipelines.family import DialogueItem
from pipelines.preview import PreviewSession
from pipelines.vora import VoraOptions

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "white": (250, 250, 250)}
SMALL = VoraOptions(teacher="", size=32, patch=8)
TOKENS = 16


def make_teacher(folder: Path, blocks: int = 3) -> Path:
    """A random ViT of another grid than SMALL's, deeper than the tiny language model."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        image_size=48,
        patch_size=12,
        attn_implementation="sdpa",
    )
    ViTModel(config, add_pooling_layer=False).eval().save_pretrained(folder)
    return folder


def picture(colour: str, size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.new("RGB", size, COLOURS[colour])


def picture_bytes(colour: str) -> bytes:
    buffer = BytesIO()
    picture(colour).save(buffer, "PNG")
    return buffer.getvalue()


def make_pictures(folder: Path) -> Path:
    """Four pictures: two with captions, one asked about in LLaVA's form, two of them in one row; and a row of text."""
    folder.mkdir(parents=True, exist_ok=True)
    for colour in COLOURS:
        picture(colour, (40, 30)).save(folder / f"{colour}.png")
    (folder / "red.txt").write_text("red")
    (folder / "green.txt").write_text("green")
    rows: list[dict[str, Any]] = [
        {"image": "blue.png", "conversations": [
            {"from": "human", "value": "<image>\nWhich colour?"}, {"from": "gpt", "value": "blue"}]},
        {"images": ["white.png", "blue.png"], "question": "What are <image> and <image>?", "answer": "white, blue"},
        {"question": "What is one and one?", "answer": "two"},
    ]  # fmt: skip
    (folder / "rows.json").write_text(json.dumps(rows))
    return folder


def vora_config(base: Path, data: Path, **settings: Any) -> RunConfig:
    """A small run; `settings` are train's, and `options` those of the family."""
    options = settings.pop("options", SMALL)
    defaults: dict[str, Any] = {"steps": 4, "batch_size": 2, "warmup": 1, "checkpoint_every": 1, "keep_checkpoints": 9}
    return RunConfig(
        family="vora",
        base=str(base),
        data=DataConfig(path=str(data)),
        adapter=AdapterConfig(rank=4, alpha=4.0),
        train=TrainConfig(**{**defaults, "precision": "fp32", "device": "cpu", **settings}),
        options=options,
    )


def loaded(base: Path, **options: Any) -> tuple[Any, Any]:
    """The family with these options, and a base."""
    family = registry.create("vora", replace(SMALL, **options))
    return family, family.load(find_base(str(base)), torch.device("cpu"), torch.float32)


def session(base: Path, cache_dir: Path | None = None, **options: Any) -> PreviewSession:
    return PreviewSession(
        "vora", str(base), replace(SMALL, **options), precision="fp32", device="cpu", cache_dir=cache_dir
    )


def seen(*parts: str, answer: str = "it is red", name: str = "a") -> DialogueItem:
    """A question in which a colour stands for a picture of it."""
    pictures = tuple(picture(part) for part in parts if part in COLOURS)
    asked = "".join(PICTURE if part in COLOURS else part for part in parts)
    return DialogueItem(name, (Turn("user", asked), Turn("assistant", answer)), pictures)


def encoded(family: Any, parts: Any, *items: DialogueItem) -> list[EncodedSample]:
    return [EncodedSample(item.id, "", (0, 0), family.encode(parts, item)) for item in items]


def batch(rows: list[EncodedSample]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([row.tensors[name] for row in rows]) for name in rows[0].tensors}
