"""A training step of each scope of the layout family: time, work and memory, and what caching the encoders is worth.

    python -m benchmarks.layout_step --data DIR [--base emoji-mmdit] [--batch 8]

`--data` holds pictures with boxes. "Plain" encodes pixels and text in every step and trains the branch itself.

No scope is much cheaper than another while the gradient is exact: whatever learns, the picture goes forward through
every block, and since a box reaches the picture in the first block, its gradient comes back through all of them. What a
smaller scope saves is the gradient of weights that stay as they are, their optimizer's state and their moving average.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import alternate, flops, machine, quiet
from benchmarks.train_step import ours
from pipelines import registry
from pipelines.bases import find_base
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.data.buckets import fit, to_tensor
from pipelines.data.samples import read_dataset
from pipelines.family import Item
from pipelines.memory import estimate
from pipelines.mmdit_layout import SCOPES, LayoutOptions

PLAIN = "whole, plain"


def run_config(args: argparse.Namespace, scope: str) -> RunConfig:
    train = TrainConfig(
        steps=1000, batch_size=args.batch, precision="fp32", device="cpu", checkpoint_every=100_000, keep_checkpoints=1
    )
    data = DataConfig(path=args.data, resolution=args.resolution, buckets=False)
    return RunConfig("mmdit_layout", args.base, data, AdapterConfig(rank=args.rank), train, LayoutOptions(scope=scope))


def encoding(config: RunConfig, dataset: Path) -> Callable[[], Any]:
    """A function that encodes the samples of one batch."""
    family = registry.create(config.family, config.options)
    parts = family.load(find_base(config.base), torch.device("cpu"), torch.float32)
    size = (config.data.resolution, config.data.resolution)
    samples = read_dataset(dataset).samples[: config.train.batch_size]
    items = [Item(s.id, s.caption, to_tensor(fit(s.open(), size)), size, regions=s.regions) for s in samples]
    return lambda: [family.encode(parts, item) for item in items]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--base", default="emoji-mmdit")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    quiet()
    print(machine())
    configs = {scope: run_config(args, scope) for scope in SCOPES}
    with tempfile.TemporaryDirectory() as folder:
        steps: dict[str, Callable[[], Any]] = {
            scope: ours(config, Path(folder) / scope) for scope, config in configs.items()
        }
        encode, whole = encoding(configs["whole"], Path(folder) / "whole" / "dataset"), steps["whole"]
        steps[PLAIN] = lambda: (encode(), whole())
        configs[PLAIN] = configs["whole"]
        seconds = alternate(steps, args.repeats)
        print(f"{'':<14}{'step':>10}{'work':>15}{'trained':>14}{'state':>12}{'activations':>14}")
        for name, step in steps.items():
            found = estimate(configs[name])
            state = (found.adapter + found.gradients + found.optimizer) / 2**20
            print(
                f"{name:<14}{seconds[name] * 1000:7.0f} ms{flops(step) / 1e9:9.2f} GFLOP{found.parameters:>14,}"
                f"{state:8.1f} MiB{found.activations / 2**20:10.1f} MiB"
            )
        print(f"layout_mlp against the plain step: {seconds['layout_mlp'] / seconds[PLAIN]:.2f} of its time")


if __name__ == "__main__":
    main()
