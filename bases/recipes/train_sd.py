"""Train text encoder and UNet of `emoji-sd` on cached latents, then assemble the base.

    torchrun --nproc-per-node 2 -m bases.recipes.train_sd --work DIR --output bases/emoji-sd

Needs the autoencoder of train_vae in `--work`. v-prediction with zero terminal SNR (Lin et al. 2023): white paper needs
a model that can start from pure noise.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from . import emoji
from .captions import LENGTH, caption, train_tokenizer
from .loop import Trainer, adamw, start_worker
from .muon import Muon

WIDTH = 192
DROPPED = 0.1
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
}


def build_unet() -> UNet2DConditionModel:
    """Most parameters sit at 2 x 2 and 4 x 4, where a layout is remembered and a multiplication is cheap."""
    widths = (48, 96, 192, 256)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 3, 6, 8),
        norm_num_groups=16,
        use_linear_projection=True,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Three layers of CLIP's text transformer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=6,
            max_position_embeddings=LENGTH,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


@torch.no_grad()
def normalize_latents(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Give each latent channel mean 0 and deviation 1 over `pixels`, folded into the 1 x 1 convolutions around the
    latent; returns the latents (N, 8, 16, 16)."""
    moments = torch.cat([vae.quant_conv(vae.encoder(part)) for part in pixels.split(16)])
    mean = moments.chunk(2, dim=1)[0]
    centre, deviation = mean.mean((0, 2, 3)), mean.std((0, 2, 3))
    channels = len(centre)
    inverse = 1 / deviation
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:channels] *= inverse.view(-1, 1, 1, 1)
    quant.bias[:channels] = (quant.bias[:channels] - centre) * inverse
    quant.bias[channels:] += 2 * inverse.log()
    post.bias += (post.weight[:, :, 0, 0] * centre).sum(1)
    post.weight *= deviation.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1.0)
    return (mean - centre.view(1, -1, 1, 1)) * inverse.view(1, -1, 1, 1)


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Latents (N, 8, 16, 16) of an autoencoder that is normalized already."""
    return torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(16)])


def prepare(work: Path, weights: Path | None) -> Path:
    """Latents of the world and the tokenizer, computed once into `work/sd`; from the base `weights` when given."""
    folder = work / "sd"
    if (folder / "latents.npy").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = weights / "vae" if weights else work / "vae" / "trained"
    vae = AutoencoderKL.from_pretrained(source, dtype=torch.float32).eval()
    with np.load(work / "pictures.npz") as pools:
        world = pools["world"][:, : len(emoji.TRAINING_STYLES)]
    pixels = torch.from_numpy(world.reshape(-1, emoji.SIZE, emoji.SIZE, 3)).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = encode(vae, pixels) if weights else normalize_latents(vae, pixels)
    vae.save_pretrained(folder / "vae")
    tokenizer = CLIPTokenizer.from_pretrained(weights / "tokenizer") if weights else train_tokenizer(emoji.read_nouns())
    tokenizer.save_pretrained(folder / "tokenizer")
    np.save(folder / "latents.npy", latents.numpy())
    return folder


class Denoiser(nn.Module):
    """Text encoder and UNet, trained together."""

    def __init__(self, tokenizer: CLIPTokenizer):
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet()

    def load(self, weights: Path) -> None:
        """Begin with the weights of a base."""
        self.text_encoder = CLIPTextModel.from_pretrained(weights / "text_encoder", dtype=torch.float32).train()
        self.unet = UNet2DConditionModel.from_pretrained(weights / "unet", dtype=torch.float32).train()

    def optimizers(self, lr: float, matrix_lr: float) -> list[torch.optim.Optimizer]:
        """Muon for the matrices inside the nets, AdamW for everything at their ends and for vectors."""
        ends = ("conv_in", "conv_out", "token_embedding", "position_embedding")
        inside = {n: p.ndim >= 2 and not any(end in n for end in ends) for n, p in self.named_parameters()}
        matrices = [p for n, p in self.named_parameters() if inside[n]]
        rest = [p for n, p in self.named_parameters() if not inside[n]]
        return [Muon(matrices, matrix_lr), adamw(rest, lr)]

    def forward(self, noisy: torch.Tensor, steps: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.unet(noisy, steps, self.text_encoder(ids)[0]).sample


class Objective:
    """The loss of a step, a pure function of (step, rank)."""

    def __init__(self, model: Denoiser, tokenizer: CLIPTokenizer, latents: torch.Tensor, batch: int, rank: int):
        self.model, self.tokenizer, self.latents, self.batch, self.rank = model, tokenizer, latents, batch, rank
        self.nouns = emoji.read_nouns()
        self.alpha_bar = DDPMScheduler(**SCHEDULE).alphas_cumprod

    def __call__(self, step: int) -> torch.Tensor:
        rng = random.Random(step * 64 + self.rank)
        generator = torch.Generator().manual_seed(step * 64 + self.rank)
        chosen = [rng.randrange(len(self.latents)) for _ in range(self.batch)]
        captions = [
            "" if rng.random() < DROPPED else caption(self.nouns[i // 4], emoji.TRAINING_STYLES[i % 4], rng)
            for i in chosen
        ]
        ids = self.tokenizer(
            captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        x0 = self.latents[chosen]
        noise = torch.randn(x0.shape, generator=generator)
        # Stratified over the batch: every step sees all noise levels.
        u = (torch.arange(self.batch) + torch.rand(self.batch, generator=generator)) / self.batch
        steps = (u * len(self.alpha_bar)).long()
        alpha = self.alpha_bar[steps].view(-1, 1, 1, 1)
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * x0
        return F.mse_loss(self.model(alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise, steps, ids), target)


def assemble(model: Denoiser, folder: Path, output: Path) -> None:
    """Write the base: fp16 safetensors in shards under 10 MB, in the layout of any Stable Diffusion model."""
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=model.text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=model.unet,
        scheduler=DDIMScheduler(**SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16)
    pipeline.save_pretrained(output, safe_serialization=True, max_shard_size="9500KB")
    for config in output.glob("*/config.json"):
        values = json.loads(config.read_text(encoding="utf-8"))
        # diffusers notes the folder a part was loaded from, which is nobody's business.
        values.pop("_name_or_path", None)
        config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=24, help="pictures per process")
    parser.add_argument("--lr", type=float, default=8e-4, help="of embeddings, biases and the first and last layers")
    parser.add_argument("--matrix-lr", type=float, default=1e-2, help="of all other weights")
    parser.add_argument("--weights", type=Path, help="go on from the weights of this base (autoencoder included)")
    parser.add_argument("--snapshot", action="store_true", help="assemble the base from the last checkpoint and stop")
    args = parser.parse_args()
    rank, _ = start_worker()
    folder = prepare(args.work, args.weights) if rank == 0 else args.work / "sd"
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    model = Denoiser(tokenizer)
    if args.weights:
        model.load(args.weights)
    trainer = Trainer(model, folder, model.optimizers(args.lr, args.matrix_lr), steps=args.steps, ema=0.999)
    trainer.resume()
    if not args.snapshot:
        latents = torch.from_numpy(np.load(folder / "latents.npy"))
        trainer.run(Objective(model, tokenizer, latents, args.batch, rank), rank)
    if rank == 0:
        trainer.use_average()
        assemble(model, folder, args.output)


if __name__ == "__main__":
    main()
