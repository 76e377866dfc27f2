"""What we show is what others get: exported files in stock diffusers against our own preview, at several strengths."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.export import export
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession
from pipelines.stable_diffusion import StableDiffusionOptions
from pipelines.train import ADAPTER_FILE, train

STRENGTHS = (0.0, 0.5, 1.0, 1.5)
REQUEST = PreviewRequest("disc 3", negative_prompt="a square", seed=4, steps=3, guidance=7.0)


@dataclass(frozen=True)
class Case:
    """A kind of base and what is trained on it. In none of them does alpha equal rank."""

    kind: str
    adapter: AdapterConfig
    options: StableDiffusionOptions = field(default_factory=StableDiffusionOptions)


CASES = {
    "sd1": Case("sd1", AdapterConfig(rank=4, alpha=6.0)),
    "sd1-rslora-everywhere": Case(
        "sd1",
        AdapterConfig(variant="rslora", rank=4, alpha=3.0),
        StableDiffusionOptions(conv=True, text_encoder=True),
    ),
    "sd2": Case("sd2", AdapterConfig(rank=3, alpha=1.0)),
    "sdxl": Case("sdxl", AdapterConfig(rank=4, alpha=10.0)),
    "sdxl-rslora-everywhere": Case(
        "sdxl",
        AdapterConfig(variant="rslora", rank=2, alpha=3.0),
        StableDiffusionOptions(conv=True, text_encoder=True),
    ),
}


@dataclass(frozen=True)
class Trained:
    base: Path
    run: Path
    ours: dict[float, Image.Image]


@pytest.fixture(scope="module", params=CASES)
def trained(
    request: pytest.FixtureRequest,
    tiny_base: Callable[[str], Path],
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """A run whose adapter visibly changes the picture, and our pictures at each strength."""
    case = CASES[request.param]
    base, run = tiny_base(case.kind), tmp_path_factory.mktemp("run")
    config = RunConfig(
        base=str(base),
        data=DataConfig(path=str(pictures), resolution=64),
        adapter=case.adapter,
        train=TrainConfig(
            steps=10,
            batch_size=2,
            warmup=0,
            learning_rate=0.1,
            schedule="constant",
            ema=0,
            precision="fp32",
            device="cpu",
        ),
        options=case.options,
    )
    list(train(config, run))
    session = PreviewSession(config.family, config.base, case.options, precision="fp32", device="cpu")
    return Trained(base, run, {s: session.render({run / ADAPTER_FILE: s}, REQUEST) for s in STRENGTHS})


def stock(folder: Path) -> diffusers.DiffusionPipeline:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stock_picture(pipeline: diffusers.DiffusionPipeline) -> Image.Image:
    """The request, asked of a stock pipeline."""
    side = pipeline.unet.config.sample_size
    shape = (1, pipeline.unet.config.in_channels, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(REQUEST.seed))
    return pipeline(
        REQUEST.prompt,
        negative_prompt=REQUEST.negative_prompt,
        num_inference_steps=REQUEST.steps,
        guidance_scale=REQUEST.guidance,
        latents=noise,
    ).images[0]


def difference(a: Image.Image, b: Image.Image) -> int:
    """Largest difference of any channel of any pixel, in 1/255."""
    first, second = (np.asarray(picture, dtype=np.int16) for picture in (a, b))
    assert first.shape == second.shape
    return int(np.abs(first - second).max())


def test_the_adapter_is_visible(trained: Trained) -> None:
    """Or the comparisons below would show nothing."""
    pictures = [trained.ours[s] for s in STRENGTHS]
    assert min(difference(a, b) for a, b in itertools.pairwise(pictures)) > 5


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_stock_diffusers_shows_our_picture(trained: Trained, form: str, tmp_path: Path) -> None:
    proof = export(trained.run, form, tmp_path / f"{form}.safetensors", base=str(trained.base))
    assert proof.unmatched == 0 and proof.max_error <= 1e-6 * max(1.0, proof.max_delta)
    pipeline = stock(trained.base)
    pipeline.load_lora_weights(tmp_path, weight_name=f"{form}.safetensors", adapter_name="ours")
    for strength in STRENGTHS:
        pipeline.set_adapters("ours", strength)
        assert difference(stock_picture(pipeline), trained.ours[strength]) <= 1, f"strength {strength}"


def test_merged_base_shows_our_picture(trained: Trained, tmp_path: Path) -> None:
    export(trained.run, "merged", tmp_path / "merged", base=str(trained.base), strength=0.5)
    assert difference(stock_picture(stock(tmp_path / "merged")), trained.ours[0.5]) <= 1


def test_our_preview_of_an_exported_file_is_the_same(trained: Trained, tmp_path: Path) -> None:
    """In again: the kohya file gives the picture of the file the run wrote."""
    export(trained.run, "kohya", tmp_path / "kohya.safetensors", base=str(trained.base))
    session = PreviewSession("stable_diffusion", str(trained.base), precision="fp32", device="cpu")
    assert difference(session.render({tmp_path / "kohya.safetensors": 1.0}, REQUEST), trained.ours[1.0]) <= 1
