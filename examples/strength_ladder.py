"""One picture per strength, side by side, from a single batched pass.

    python -m examples.strength_ladder runs/style --prompt "a house, openmoji" --output ladder.png

The first is always the base itself. `--group self-attention` moves only that group of layers, the others stay at 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from pipelines.export import adapter_path, run_config
from pipelines.family import PreviewRequest
from pipelines.preview import LADDER, PreviewSession


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="run folder or adapter file")
    parser.add_argument("--base", default="", help="the run's own when left out")
    parser.add_argument("--prompt", default="a house, openmoji")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--group", default=None)
    parser.add_argument("--output", type=Path, default=Path("ladder.png"))
    args = parser.parse_args()

    base = args.base or run_config(args.source).base
    session = PreviewSession("stable_diffusion", base)
    request = PreviewRequest(args.prompt, seed=args.seed, steps=args.steps)
    ladder = session.ladder(adapter_path(args.source), request, LADDER, group=args.group)

    pictures = (ladder.base, *ladder.images)
    width, height = ladder.base.size
    sheet = Image.new("RGB", (width * len(pictures), height), "white")
    for column, picture in enumerate(pictures):
        sheet.paste(picture, (column * width, 0))
    sheet.save(args.output)
    print(f"{args.output}: the base, then strengths {', '.join(f'{s:g}' for s in ladder.strengths)}")


if __name__ == "__main__":
    main()
