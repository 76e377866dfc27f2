"""What the example adapter does at each strength: the README's table and picture.

    python -m benchmarks.example_adapter --run RUN_DIR [--preset quality,style] [--set train.steps=300 ...]
        [--picture docs/ladder.png]

Trains on the example set (18 OpenMoji drawings) unless RUN_DIR already holds a finished run, then draws nouns that are
*not* in the set at strengths 0 to 1.5 and asks the judge for noun and style.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines import worker
from pipelines.config import RunConfig, with_settings
from pipelines.events import Step
from pipelines.family import PreviewRequest
from pipelines.judge import Judge, to_pixels
from pipelines.presets import apply
from pipelines.preview import LADDER, PreviewSession

DATA = Path(__file__).parents[1] / "examples" / "data" / "openmoji"


def train(run: Path, config: RunConfig) -> None:
    """Train an adapter in `run`, if it is not there yet, printing time and peak memory."""
    if (run / "adapter" / "adapter.safetensors").exists():
        return
    worker.start(config, run)
    started = time.time()
    steps = [event for event in worker.run(run) if isinstance(event, Step)]
    if not steps:
        raise SystemExit("training failed; see events.jsonl")
    seconds = time.time() - started
    print(
        f"{len(steps)} steps, {seconds:.0f} s wall ({np.median([s.seconds for s in steps]):.2f} s per step), ", end=""
    )
    print(f"peak memory {steps[-1].memory / 2**20:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--preset", default="", metavar="NAME,NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--nouns", type=int, default=60, help="how many nouns outside the set to draw")
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--picture", type=Path, help="write six of the ladders as one PNG")
    args = parser.parse_args()
    config = apply(RunConfig(), filter(None, args.preset.split(",")))
    settings = {"data.path": str(DATA), **dict(item.split("=", 1) for item in args.set)}
    train(args.run, with_settings(config, settings))
    judge = Judge()
    shown = {path.stem.replace("-", " ").replace("_", " ") for path in DATA.glob("*.png")}
    unseen = [noun for noun in judge.nouns if noun not in shown]
    unseen = unseen[:: max(1, len(unseen) // args.nouns)][: args.nouns]
    config = RunConfig.load(args.run / "run.json")
    session = PreviewSession(config.family, config.base, config.options)
    adapter = args.run / "adapter" / "adapter.safetensors"
    ladders = [
        session.ladder(adapter, PreviewRequest(prompt=f"a {noun}, openmoji", seed=i, guidance=args.guidance)).images
        for i, noun in enumerate(unseen)
    ]
    print(f"{len(unseen)} nouns outside the set, prompt 'a NOUN, openmoji', guidance {args.guidance:g}")
    print("| strength | noun top-1 | noun top-5 | OpenMoji style |\n|---|---|---|---|")
    for column, strength in enumerate(LADDER):
        pixels = to_pixels([ladder[column] for ladder in ladders])
        score = judge.score(pixels, unseen, ["openmoji"] * len(unseen))
        print(f"| {strength:g} | {score['noun_top1']:.0%} | {score['noun_top5']:.0%} | {score['style']:.0%} |")
    if args.picture:
        rows = [
            np.concatenate([np.asarray(image) for image in ladder], 1) for ladder in ladders[:: len(ladders) // 6][:6]
        ]
        Image.fromarray(np.concatenate(rows, 0)).save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
