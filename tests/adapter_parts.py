"""Tiny bases, random adapters and key lists for the tests of adapter files."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import nn

from pipelines.adapters.lowrank import Layers, LowRank

from .tiny import tiny_text_encoder, tiny_tokenizer, tiny_unet, tiny_vae

KEYS = Path(__file__).parent / "fixtures" / "keys"
CONVOLUTIONS = ("resnets.0.conv1", "downsamplers.0.conv", "upsamplers.0.conv", "proj_in")
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "out_proj", "fc1")


def tiny_pipeline(kind: str) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """A stock pipeline of random parts: `sd1` or `sdxl`."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    parts = {"vae": tiny_vae(), "unet": tiny_unet(kind), "scheduler": DDIMScheduler(), "tokenizer": tokenizer}
    if kind == "sdxl":
        return StableDiffusionXLPipeline(
            **parts,
            tokenizer_2=tokenizer,
            text_encoder=tiny_text_encoder(tokenizer),
            text_encoder_2=tiny_text_encoder(tokenizer, projection=True),
        )
    return StableDiffusionPipeline(
        **parts,
        text_encoder=tiny_text_encoder(tokenizer),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def components(pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline) -> dict[str, nn.Module]:
    names = ("unet", "text_encoder", "text_encoder_2")
    return {name: getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None}


def weight_shapes(model: dict[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    """What `read_layers` calls modules: every Linear and Conv2d by full name."""
    return {
        f"{component}.{name}": tuple(module.weight.shape)
        for component, root in model.items()
        for name, module in root.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }


def random_layers(
    shapes: dict[str, tuple[int, ...]], ends: tuple[str, ...] = ATTENTION, rank: int = 3, scale: float = 1.0
) -> Layers:
    """A random adapter on the layers whose names end in one of `ends`."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, shape in shapes.items():
        if name.endswith(ends):
            down = torch.randn(rank, *shape[1:], generator=generator)
            up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator)
            found[name] = LowRank(down, up, scale)
    return found


def largest_difference(a: Layers, b: Layers) -> float:
    """Largest difference of any element of delta W; the layers must be the same ones."""
    assert a.keys() == b.keys()
    return max(float((a[name].delta() - b[name].delta()).abs().max()) for name in a)


def key_list(name: str) -> dict[str, tuple[int, ...]]:
    """A list in fixtures/keys: tensor name -> shape."""
    lines = (KEYS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if not line.startswith("#"))
    return {key: tuple(int(size) for size in shape.split(",") if size) for key, shape in pairs}


def stand_ins(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Tensors of these shapes that take no memory; each pair of matrices holds its own number."""
    stems = {key.partition(".")[0] if key.startswith("lora_") else key.rpartition("lora")[0] for key in shapes}
    number = {stem: float(i) for i, stem in enumerate(sorted(stems))}

    def value(key: str) -> float:
        return number[key.partition(".")[0] if key.startswith("lora_") else key.rpartition("lora")[0]]

    return {key: torch.tensor(value(key)).expand(shape) for key, shape in shapes.items()}
