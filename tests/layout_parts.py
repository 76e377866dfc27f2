"""What the tests of the layout family share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from pipelines import registry
from pipelines.bases import find_base
from pipelines.config import RunConfig
from pipelines.data.regions import Region
from pipelines.family import Item, PreviewRequest
from pipelines.mmdit_layout import LayoutOptions
from pipelines.preview import PreviewSession
from pipelines.randomness import Randomness
from tests.test_train import tiny_config
from tests.tiny import SD35, tiny_mmdit

Base = Callable[[str], Path]
BOXES = (Region((0.1, 0.1, 0.5, 0.6), "a disc"), Region((0.55, 0.3, 0.95, 0.9), "a square"))
REQUEST = PreviewRequest("a disc and a square", "paper", seed=3, steps=4, guidance=4.0, regions=BOXES)


def configured(base: Path, data: Path, scope: str = "layout_mlp", **settings: object) -> RunConfig:
    config = tiny_config(base, data, **settings)
    return replace(config, family="mmdit_layout", options=LayoutOptions(scope=scope))


def loaded(base: Path, **options: Any) -> tuple[Any, Any]:
    family = registry.create("mmdit_layout", LayoutOptions(**options))
    return family, family.load(find_base(str(base)), torch.device("cpu"), torch.float32)


def batch_of(family: Any, parts: Any, *regions: tuple[Region, ...]) -> tuple[dict[str, torch.Tensor], Randomness]:
    pixels = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = [family.encode(parts, Item("a", "a disc", pixels, (64, 64), regions=each)) for each in regions]
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return batch, Randomness(0, 0, tuple(str(i) for i in range(len(regions))))


def session(base: Path, **options: Any) -> PreviewSession:
    return PreviewSession("mmdit_layout", str(base), LayoutOptions(**options), precision="fp32", device="cpu")


def difference(one: Image.Image, other: Image.Image) -> int:
    """Largest difference of any channel of any pixel, in 1/255."""
    first, second = (np.asarray(picture, dtype=np.int16) for picture in (one, other))
    return int(np.abs(first - second).max())


def stock_pipeline(base: Path, t5: Any = None, t5_tokenizer: Any = None) -> StableDiffusion3Pipeline:
    """The stock pipeline of a base whose branch is left out."""
    net = tiny_mmdit(joint_attention_dim=36, pooled_projection_dim=32, **SD35)
    state = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")
    net.load_state_dict({name: value for name, value in state.items() if "layout" not in name})
    return StableDiffusion3Pipeline(
        transformer=net,
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(base / "scheduler"),
        vae=AutoencoderKL.from_pretrained(base / "vae"),
        text_encoder=CLIPTextModelWithProjection.from_pretrained(base / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(base / "tokenizer"),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2"),
        tokenizer_2=CLIPTokenizer.from_pretrained(base / "tokenizer_2"),
        text_encoder_3=t5,
        tokenizer_3=t5_tokenizer,
    )
