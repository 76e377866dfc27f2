"""Learn a drawing style from a folder of captioned pictures, and look at what was learned.

    python -m examples.train_style --output runs/style

Trains on 18 OpenMoji drawings (black outlines, flat colours) and draws something that is not among them, without the
adapter and with it. `--data` takes any folder or zip file of pictures, `--base` any Stable Diffusion.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from pipelines import worker
from pipelines.config import DataConfig, RunConfig, TrainConfig
from pipelines.events import Failed, Finished, Step
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession

DATA = Path(__file__).parent / "data" / "openmoji"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="emoji-sd")
    parser.add_argument("--data", default=str(DATA))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--prompt", default="a house, openmoji")
    parser.add_argument("--denoising-steps", type=int, default=25)
    parser.add_argument("--output", type=Path, required=True, help="new folder for the run")
    args = parser.parse_args()

    config = RunConfig(base=args.base, data=DataConfig(path=args.data), train=TrainConfig(steps=args.steps))
    config = replace(config, adapter=replace(config.adapter, rank=8, alpha=8.0))
    worker.start(config, args.output)
    for event in worker.run(args.output):
        if isinstance(event, Step) and event.step % 20 == 0:
            print(f"step {event.step}: loss {event.loss:.3f}, {event.seconds:.2f} s")
        elif isinstance(event, Failed):
            raise SystemExit("\n".join(event.problems))
        elif isinstance(event, Finished):
            print(f"the adapter is {args.output / event.path}")

    session = PreviewSession(config.family, config.base)
    request = PreviewRequest(args.prompt, steps=args.denoising_steps)
    ladder = session.ladder(args.output / "adapter" / "adapter.safetensors", request, (0.0, 1.0))
    for name, picture in zip(("base", "adapter"), ladder.images, strict=True):
        picture.save(args.output / f"{name}.png")
        print(args.output / f"{name}.png")


if __name__ == "__main__":
    main()
