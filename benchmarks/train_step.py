"""A training step of ours against the same step done the way diffusers' text-to-image LoRA example does it.

    python -m benchmarks.train_step [--base emoji-sd] [--data examples/data/openmoji] [--batch 4] [--rank 8]

Theirs encodes pixels and text in every step; ours encoded them before the first. Both take turns in one process. Then
it says what share of the machine's matrix product speed is reached, and where the rest of our step goes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import alternate, flops, machine, matmul_peak, quiet
from pipelines.bases import find_base
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.data.buckets import fit, to_tensor
from pipelines.data.samples import read_dataset
from pipelines.devices import pick_dtype
from pipelines.events import Event, Step
from pipelines.train import train

DATA = Path(__file__).parents[1] / "examples" / "data" / "openmoji"
KINDS = (
    ("attention", ("scaled_dot_product", "softmax")),
    ("convolutions", ("convolution", "conv2d")),
    ("matrix products", ("mm", "linear", "bmm", "matmul")),
    ("norms", ("norm",)),
    ("copies", ("copy_", "cat", "clone", "contiguous", "fill_", "zero_")),
    ("element by element", ("add", "mul", "gelu", "silu", "sub", "div", "mean", "sum", "lerp", "where", "adam")),
)


def ours(config: RunConfig, folder: Path) -> Callable[[], Event]:
    """A function that does one step of the real training loop."""
    events: Iterator[Event] = train(config, folder)
    next(events)

    def step() -> Event:
        event = next(events)
        assert isinstance(event, Step), event
        return event

    return step


class Theirs:
    """The body of the loop of examples/text_to_image/train_text_to_image_lora.py in diffusers."""

    def __init__(self, base: str, samples: list[tuple[torch.Tensor, str]], rank: int, dtype: torch.dtype):
        from diffusers import DDPMScheduler, StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(find_base(base).source, safety_checker=None)
        self.unet, self.vae, self.text_encoder = pipeline.unet, pipeline.vae, pipeline.text_encoder
        for module in (self.unet, self.vae, self.text_encoder):
            module.requires_grad_(False).to(dtype)
        config = LoraConfig(
            r=rank,
            lora_alpha=rank,
            init_lora_weights="gaussian",
            target_modules=["to_k", "to_q", "to_v", "to_out.0"],
        )
        self.unet.add_adapter(config)
        self.parameters = [p for p in self.unet.parameters() if p.requires_grad]
        for parameter in self.parameters:
            parameter.data = parameter.data.float()
        self.unet.train()
        self.noise = DDPMScheduler.from_config(pipeline.scheduler.config)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=1e-2)
        self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1)
        self.dtype = dtype
        self.pixels = torch.stack([pixels for pixels, _ in samples])
        self.ids = pipeline.tokenizer(
            [caption for _, caption in samples],
            max_length=pipeline.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def step(self) -> None:
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            latents = self.vae.encode(self.pixels.to(self.dtype)).latent_dist.sample() * self.vae.config.scaling_factor
            noise = torch.randn_like(latents)
            timesteps = torch.randint(0, self.noise.config.num_train_timesteps, (len(latents),))
            noisy = self.noise.add_noise(latents, noise, timesteps)
            states = self.text_encoder(self.ids, return_dict=False)[0]
            velocity = self.noise.config.prediction_type == "v_prediction"
            target = self.noise.get_velocity(latents, noise, timesteps) if velocity else noise
            predicted = self.unet(noisy, timesteps, states, return_dict=False)[0]
            loss = torch.nn.functional.mse_loss(predicted.float(), target.float())
        loss.backward()
        loss.item()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()


def breakdown(step: Callable[[], Any]) -> dict[str, float]:
    """Share of one step that each kind of operation takes. Watching slows Python down: its share is an upper bound."""
    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
        seconds = time.perf_counter() - started
    found: dict[str, float] = defaultdict(float)
    for row in profiler.key_averages():
        kind = next(
            (kind for kind, words in KINDS if any(word in row.key.lower() for word in words)), "other operations"
        )
        found[kind] += row.self_cpu_time_total / 1e6
    found["Python"] = max(0.0, seconds - sum(found.values()))
    total = sum(found.values())
    return {kind: found[kind] / total for kind in sorted(found, key=lambda kind: -found[kind])}


def run_config(args: argparse.Namespace, precision: str) -> RunConfig:
    return RunConfig(
        base=args.base,
        data=DataConfig(path=args.data, resolution=args.resolution),
        adapter=AdapterConfig(rank=args.rank, alpha=float(args.rank)),
        train=TrainConfig(
            steps=1000, batch_size=args.batch, precision=precision, device="cpu", checkpoint_every=100_000
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="emoji-sd")
    parser.add_argument("--data", default=str(DATA))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    quiet()
    default = pick_dtype("auto", torch.device("cpu"))
    print(f"{machine()}; our default precision here: {str(default).removeprefix('torch.')}")
    with tempfile.TemporaryDirectory() as folder:
        steps: dict[str, Callable[[], Any]] = {"ours, fp32": ours(run_config(args, "fp32"), Path(folder) / "fp32")}
        dataset = read_dataset(Path(folder) / "fp32" / "dataset").samples[: args.batch]
        size = (args.resolution, args.resolution)
        samples = [(to_tensor(fit(sample.open(), size)), sample.caption) for sample in dataset]
        steps["theirs, fp32"] = Theirs(args.base, samples, args.rank, torch.float32).step
        if default != torch.float32:
            steps["ours, default"] = ours(run_config(args, "auto"), Path(folder) / "auto")
            steps["theirs, same as our default"] = Theirs(args.base, samples, args.rank, default).step
        seconds = alternate(steps, args.repeats)
        for name, value in seconds.items():
            print(f"{name:<28}{value * 1000:9.1f} ms  {flops(steps[name]) / 1e9:8.2f} GFLOP")
        fastest = "ours, default" if default != torch.float32 else "ours, fp32"
        print(f"same precision (fp32):         {seconds['theirs, fp32'] / seconds['ours, fp32']:.2f}x")
        if default != torch.float32:
            ratio = seconds["theirs, same as our default"] / seconds["ours, default"]
            print(f"same precision ({str(default).removeprefix('torch.')}):     {ratio:.2f}x")
        print(f"defaults against its defaults: {seconds['theirs, fp32'] / seconds[fastest]:.2f}x")
        peak, achieved = matmul_peak(default) / 1e9, flops(steps[fastest]) / seconds[fastest] / 1e9
        print(f"matrix product peak {peak:.0f} GFLOP/s, our step reaches {achieved:.1f}: {achieved / peak:.0%}")
        print("where our step goes: " + ", ".join(f"{k} {v:.0%}" for k, v in breakdown(steps[fastest]).items()))


if __name__ == "__main__":
    main()
