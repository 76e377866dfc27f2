"""A ladder of 7 strengths against 7 calls of a stock pipeline with set_adapters, and against the cache.

    python -m benchmarks.ladder [--base emoji-sd] [--adapter FILE] [--steps 25]

Checks first that the pictures agree: ours in fp32 with stock's within 1/255 everywhere, our default precision with
fp32 within 2/255 on average. Without --adapter a random one is made, so strong that it can be seen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from benchmarks.timing import alternate, machine, quiet
from pipelines import registry
from pipelines.adapters.attach import match, shapes
from pipelines.adapters.file import write_adapter
from pipelines.adapters.lowrank import LowRank
from pipelines.bases import find_base
from pipelines.devices import pick_dtype
from pipelines.family import PreviewRequest
from pipelines.preview import LADDER, PreviewSession


def random_adapter(base: str, path: Path, rank: int = 8) -> Path:
    """An adapter on the attention of a base that moves each weight by about a tenth."""
    family = registry.create("stable_diffusion")
    parts = family.load(find_base(base), torch.device("meta"), torch.float32)
    modules, generator = shapes(parts.model), torch.Generator().manual_seed(0)
    layers = {}
    for name in match(modules, family.targets(parts)):
        out, into = modules[name]
        down = torch.randn(rank, into, generator=generator) / into**0.5
        layers[name] = LowRank(down, torch.randn(out, rank, generator=generator) / rank**0.5, 0.1)
    write_adapter(path, layers, form="diffusers", metadata={})
    return path


class Stock:
    """A stock pipeline with the adapter loaded, asked once per strength."""

    def __init__(self, base: str, adapter: Path, request: PreviewRequest, dtype: torch.dtype):
        self.pipeline = StableDiffusionPipeline.from_pretrained(
            find_base(base).source, safety_checker=None, dtype=dtype
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name, adapter_name="a")
        self.request = request
        unet = self.pipeline.unet.config
        shape = (1, unet.in_channels, unet.sample_size, unet.sample_size)
        self.noise = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed)).to(dtype)

    def pictures(self) -> list[Image.Image]:
        found = []
        for strength in LADDER:
            self.pipeline.set_adapters("a", strength)
            picture = self.pipeline(
                self.request.prompt,
                num_inference_steps=self.request.steps,
                guidance_scale=self.request.guidance,
                latents=self.noise,
            ).images[0]
            found.append(picture)
        return found


def difference(a: list[Image.Image], b: list[Image.Image]) -> tuple[int, float]:
    """Largest and mean difference of two rows of pictures, in 1/255."""
    apart = np.abs(np.stack([np.asarray(p, dtype=int) for p in a]) - np.stack([np.asarray(p, dtype=int) for p in b]))
    return int(apart.max()), float(apart.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="emoji-sd")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--prompt", default="a house")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    quiet()
    default = pick_dtype("auto", torch.device("cpu"))
    name = str(default).removeprefix("torch.")
    print(f"{machine()}; our default precision here: {name}")
    request = PreviewRequest(args.prompt, steps=args.steps)
    with tempfile.TemporaryDirectory() as folder:
        adapter = args.adapter or random_adapter(args.base, Path(folder) / "a.safetensors")
        sessions = {"fp32": PreviewSession("stable_diffusion", args.base, precision="fp32", device="cpu")}
        stock = {"fp32": Stock(args.base, adapter, request, torch.float32)}
        if default != torch.float32:
            sessions[name] = PreviewSession("stable_diffusion", args.base, device="cpu")
            stock[name] = Stock(args.base, adapter, request, default)
        rows = {key: list(session.ladder(adapter, request).images) for key, session in sessions.items()}
        largest, _ = difference(rows["fp32"], stock["fp32"].pictures())
        print(f"ours and stock, fp32: largest difference {largest}/255 (must be at most 1)")
        if default != torch.float32:
            print(f"our {name} and our fp32: {difference(rows[name], rows['fp32'])[1]:.2f}/255 on average (at most 2)")
        actions = {f"ours, {key}": lambda s=session: s.ladder(adapter, request) for key, session in sessions.items()}
        actions |= {f"stock, {key}": pipeline.pictures for key, pipeline in stock.items()}
        seconds = alternate(actions, args.repeats)
        for key, value in seconds.items():
            print(f"{key:<20}{value:8.2f} s")
        for key in sessions:
            print(f"same precision ({key}): {seconds[f'stock, {key}'] / seconds[f'ours, {key}']:.2f}x")
        last = name if default != torch.float32 else "fp32"
        print(f"defaults against stock's: {seconds['stock, fp32'] / seconds[f'ours, {last}']:.2f}x")
        cached(args.base, adapter, request, Path(folder) / "cache")


def cached(base: str, adapter: Path, request: PreviewRequest, cache: Path) -> None:
    """Ask a second session with the same cache, which never loads the base."""
    PreviewSession("stable_diffusion", base, device="cpu", cache_dir=cache).ladder(adapter, request)
    second = PreviewSession("stable_diffusion", base, device="cpu", cache_dir=cache)
    started = time.perf_counter()
    second.ladder(adapter, request)
    loaded = "never loaded" if second._parts is None else "LOADED"
    print(f"cached ladder: {(time.perf_counter() - started) * 1000:.1f} ms, base {loaded}")


if __name__ == "__main__":
    main()
