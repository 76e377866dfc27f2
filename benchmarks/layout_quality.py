"""How well a layout base puts things into boxes, as the judge sees it: unseen layouts, each box cut out.

python -m benchmarks.layout_quality --work DIR [--base bases/emoji-mmdit] [--count 300] [--sheet sheet.png]

`--work` holds the drawings that bases.recipes.train_vae rendered: unseen layouts have boxes of their shapes. The first
row of the table is the ceiling: real scenes that went through the autoencoder.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from PIL import Image, ImageDraw

from bases.recipes.emoji import SIZE
from bases.recipes.scenes import Scene, scene_caption
from bases.recipes.train_mmdit import Regions, TextEncoder, load_world, to_pixels
from benchmarks.base_quality import contact_sheet
from pipelines.judge import Judge, cut_out
from pipelines.judge import to_pixels as judge_pixels
from pipelines.nets.layout_mmdit import Layout, LayoutMMDiT

UNSEEN = 1  # seed of the layouts; the base learned those of another
BATCH = 16


class Painter:
    """A loaded base and its sampler settings."""

    def __init__(self, base: Path, steps: int, guidance: float):
        self.steps, self.guidance = steps, guidance
        self.text = TextEncoder(base)
        self.net = LayoutMMDiT.from_pretrained(base / "transformer", dtype=torch.float32).eval()
        self.vae = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32).eval()
        self.scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(base / "scheduler")

    @torch.inference_mode()
    def paint(self, captions: Sequence[str], layout: Layout, scale: float, seed: int) -> list[Image.Image]:
        """One picture per caption; guidance leads away from no words and, with the layout on, a null layout."""
        rows = len(captions)
        text, pooled = self.text([""] * rows + list(captions))
        nothing = layout._replace(present=torch.zeros_like(layout.present))
        both = Layout(*(torch.cat(pair) for pair in zip(nothing, layout, strict=True)))
        seeds = [torch.Generator().manual_seed(seed + row) for row in range(rows)]
        shape = (self.net.config.in_channels, self.net.config.sample_size, self.net.config.sample_size)
        latents = torch.stack([torch.randn(shape, generator=generator) for generator in seeds])
        self.scheduler.set_timesteps(self.steps)
        for time in self.scheduler.timesteps:
            velocity = self.net(latents.repeat(2, 1, 1, 1), text, pooled, time.expand(2 * rows), both, scale).sample
            without, towards = velocity.chunk(2)
            velocity = without + self.guidance * (towards - without)
            latents = self.scheduler.step(velocity, time, latents, return_dict=False)[0]
        return self.decode(latents)

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        pixels = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        arrays = pixels.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(array) for array in arrays]

    @torch.inference_mode()
    def through_autoencoder(self, pixels: torch.Tensor) -> list[Image.Image]:
        """What is left of real scenes."""
        return self.decode(self.vae.encode(pixels).latent_dist.mean * self.vae.config.scaling_factor)


def score(judge: Judge, scenes: Sequence[Scene], pictures: Sequence[Image.Image]) -> dict[str, float]:
    """What the judge says of every box of every picture."""
    boxes = [(picture, scene, thing) for scene, picture in zip(scenes, pictures, strict=True) for thing in scene.things]
    pixels = judge_pixels([cut_out(picture, thing.box) for picture, _, thing in boxes])
    return judge.score(pixels, [thing.word for _, _, thing in boxes], [scene.style for _, scene, _ in boxes])


def with_boxes(scene: Scene, picture: Image.Image) -> Image.Image:
    """The picture with its boxes drawn in."""
    copy = picture.copy()
    for left, top, right, bottom in (thing.box for thing in scene.things):
        ImageDraw.Draw(copy).rectangle((left, top, right - 1, bottom - 1), outline="red")
    return copy.resize((SIZE, SIZE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("bases/emoji-mmdit"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--sheet", type=Path, help="also write pictures with their boxes as one PNG")
    args = parser.parse_args()
    judge, world, painter = Judge(), load_world(args.work), Painter(args.base, args.steps, args.guidance)
    regions = Regions(world, painter.text)
    scenes = [world.scene(UNSEEN, number) for number in range(args.count)]
    rows: dict[str, list[Image.Image]] = {"real, through autoencoder": [], "layout on": [], "layout off": []}
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        captions = [scene_caption(scene, random.Random(start + i)) for i, scene in enumerate(part)]
        rows["real, through autoencoder"] += painter.through_autoencoder(to_pixels(world, part))
        for name, scale in (("layout on", 1.0), ("layout off", 0.0)):
            rows[name] += painter.paint(captions, regions.layout(part), scale, start)
    print(f"{args.base.name}: {len(scenes)} unseen layouts, {args.steps} steps, guidance {args.guidance:g}")
    print(f"{'':<28}{'noun top-1':>12}{'noun top-5':>12}{'style':>8}")
    for name, pictures in rows.items():
        found = score(judge, scenes, pictures)
        print(f"{name:<28}{found['noun_top1']:>12.1%}{found['noun_top5']:>12.1%}{found['style']:>8.1%}")
    for count in range(1, 5):
        chosen = [i for i, scene in enumerate(scenes) if len(scene.things) == count]
        if chosen:
            found = score(judge, [scenes[i] for i in chosen], [rows["layout on"][i] for i in chosen])
            print(f"{f'layout on, boxes: {count}':<28}{found['noun_top1']:>12.1%}{found['noun_top5']:>12.1%}")
    if args.sheet:
        contact_sheet([with_boxes(*pair) for pair in zip(scenes[:96], rows["layout on"][:96], strict=True)]).save(
            args.sheet
        )


if __name__ == "__main__":
    main()
