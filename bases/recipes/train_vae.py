"""Train the autoencoder of `emoji-sd`: f8, 8 latent channels, on emoji of four styles and random line drawings.

    torchrun --nproc-per-node 2 -m bases.recipes.train_vae --node-modules DIR --work DIR

Most steps see 64 px crops around something drawn (white paper teaches nothing and costs four times as much); the
last ones see whole pictures, so that the group norms meet the statistics they will have in use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from . import emoji
from .drawings import line_drawings
from .loop import Trainer, adamw, start_worker


def build_vae() -> AutoencoderKL:
    """A 1.7 M autoencoder, 128 x 128 x 3 to 16 x 16 x 8."""
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        sample_size=emoji.SIZE,
        mid_block_add_attention=False,
    )


def collect(node_modules: Path, work: Path) -> list[np.ndarray]:
    """Training pictures in three pools: the world, other emoji, line drawings (rendered once, kept in `work`)."""
    cached = work / "pictures.npz"
    if not cached.exists():
        world, _ = emoji.render_world(node_modules)
        np.savez(cached, world=world, others=emoji.render_others(node_modules), lines=line_drawings(1500))
    with np.load(cached) as pools:
        world = pools["world"][:, : len(emoji.TRAINING_STYLES)].reshape(-1, emoji.SIZE, emoji.SIZE, 3)
        return [world, pools["others"], pools["lines"]]


def batch(pools: list[np.ndarray], rng: np.random.Generator, count: int, size: int) -> torch.Tensor:
    """A batch of crops, float [-1, 1], (count, 3, size, size); half of them with colour channels permuted."""
    chosen = []
    while len(chosen) < count:
        pool = pools[rng.choice(3, p=(0.5, 0.25, 0.25))]
        picture = pool[rng.integers(len(pool))]
        y, x = rng.integers(0, emoji.SIZE - size + 1, 2)
        crop = picture[y : y + size, x : x + size]
        if crop.std() < 12:
            continue
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.5:
            crop = crop[..., rng.permutation(3)]
        chosen.append(crop)
    return torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def reconstruction_loss(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """L1 + L1 of the gradients (sharp edges) + the colour of 4 x 4 areas + a light KL (latents near unit variance).

    Without the colour term the latents drop the axis from green to magenta: it is worth little to L1, and no UNet can
    bring it back.
    """
    posterior = vae.encode(pixels).latent_dist
    output = vae.decode(posterior.sample()).sample
    difference = output - pixels
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    areas = F.avg_pool2d(difference, 4)
    chroma = areas - areas.mean(1, keepdim=True)
    colour = 2 * chroma.abs().mean() + 8 * chroma.square().mean()
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    return difference.abs().mean() + 0.5 * F.mse_loss(output, pixels) + edges + colour + 5e-4 * kl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--whole", type=int, default=400, help="how many of the last steps see whole pictures")
    parser.add_argument("--batch", type=int, default=8, help="crops per process")
    parser.add_argument("--weights", type=Path, help="begin with the weights of this folder")
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()
    rank, _ = start_worker()
    folder = args.work / "vae"
    folder.mkdir(parents=True, exist_ok=True)
    pools = collect(args.node_modules, args.work)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(args.weights).train() if args.weights else build_vae()
    trainer = Trainer(vae, folder, [adamw(vae.parameters(), lr=args.lr)], steps=args.steps, ema=0.998)
    trainer.resume()

    def make_loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((step, rank))
        torch.manual_seed(step * 1000 + rank)
        whole = step >= args.steps - args.whole
        pixels = batch(pools, rng, max(1, args.batch // 2) if whole else args.batch, emoji.SIZE if whole else 64)
        return reconstruction_loss(vae, pixels)

    trainer.run(make_loss, rank)
    if rank == 0:
        trainer.use_average()
        vae.save_pretrained(folder / "trained")


if __name__ == "__main__":
    main()
