"""How good a bundled picture base is, as the judge sees it: 300 noun x style prompts at 25 steps.

python -m benchmarks.base_quality [--base emoji-sd] [--count 300] [--sheet sheet.png]
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from pipelines.bases import find_base
from pipelines.judge import Judge, to_pixels

STYLES = ("noto", "twemoji", "fluent flat", "fluent 3d")


def draw(base: str, nouns: list[str], styles: list[str], guidance: float) -> list[Image.Image]:
    """One picture per (noun, style), a different seed each, 16 prompts in a batch."""
    pipeline = StableDiffusionPipeline.from_pretrained(find_base(base).source, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    prompts = [f"a {noun}, {style}" for noun, style in zip(nouns, styles, strict=True)]
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), 16):
        part = prompts[start : start + 16]
        seeds = [torch.Generator().manual_seed(start + i) for i in range(len(part))]
        pictures += pipeline(part, num_inference_steps=25, guidance_scale=guidance, generator=seeds).images
    return pictures


def contact_sheet(pictures: list[Image.Image], columns: int = 16) -> Image.Image:
    """Pictures side by side, half size."""
    cells = [np.asarray(picture.resize((64, 64))) for picture in pictures]
    cells += [np.full((64, 64, 3), 255, np.uint8)] * (-len(cells) % columns)
    return Image.fromarray(
        np.concatenate([np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="emoji-sd")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--sheet", type=Path, help="also write the pictures as one PNG")
    args = parser.parse_args()
    judge = Judge()
    rng = random.Random(0)
    pairs = [(noun, style) for noun in judge.nouns for style in STYLES]
    chosen = rng.sample(pairs, min(args.count, len(pairs)))
    nouns, styles = [pair[0] for pair in chosen], [pair[1] for pair in chosen]
    pictures = draw(args.base, nouns, styles, args.guidance)
    scores = judge.score(to_pixels(pictures), nouns, styles)
    print(f"{args.base}: {len(pictures)} prompts, guidance {args.guidance:g}, 25 steps")
    for name, value in scores.items():
        print(f"  {name:<10} {value:6.1%}")
    if args.sheet:
        contact_sheet(pictures[:160]).save(args.sheet)


if __name__ == "__main__":
    main()
