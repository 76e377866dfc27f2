"""Tiny random models in the exact classes of the real ones, saved to a folder like a real base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

KINDS = ("sd1", "sd2", "sdxl")


def tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows single characters and a few words."""
    characters = "abcdefghijklmnopqrstuvwxyz0123456789,.!-'"
    pieces = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=16)


def tiny_text_encoder(tokenizer: CLIPTokenizer, width: int = 16, projection: bool = False) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def tiny_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        mid_block_add_attention=False,
    )


def tiny_unet(kind: str) -> UNet2DConditionModel:
    xl = kind == "sdxl"
    extra = (
        {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 16 + 6 * 4,
            "use_linear_projection": True,
        }
        if xl
        else {"use_linear_projection": kind == "sd2"}
    )
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32 if xl else 16,
        attention_head_dim=2,
        **extra,
    )


def tiny_mmdit(**config: Any) -> SD3Transformer2DModel:
    """A random SD3 transformer of three blocks for latents (4, 8, 8), text of width 24 and pooled text of width 20."""
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=24,
        caption_projection_dim=32,
        pooled_projection_dim=20,
        pos_embed_max_size=12,
        **config,
    ).eval()


def make_tiny_base(folder: Path, kind: str = "sd1") -> Path:
    """Save a random base of one kind (`sd1`, `sd2` with v-prediction and zero SNR, `sdxl`) and return its folder."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    if kind == "sdxl":
        pipeline = StableDiffusionXLPipeline(
            vae=tiny_vae(),
            text_encoder=tiny_text_encoder(tokenizer),
            text_encoder_2=tiny_text_encoder(tokenizer, projection=True),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=tiny_unet(kind),
            scheduler=EulerDiscreteScheduler(**betas),
        )
    else:
        scheduler = (
            PNDMScheduler(**betas, skip_prk_steps=True)
            if kind == "sd1"
            else DDIMScheduler(
                **betas,
                prediction_type="v_prediction",
                rescale_betas_zero_snr=True,
                timestep_spacing="trailing",
                clip_sample=False,
            )
        )
        pipeline = StableDiffusionPipeline(
            vae=tiny_vae(),
            text_encoder=tiny_text_encoder(tokenizer),
            tokenizer=tokenizer,
            unet=tiny_unet(kind),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == type(pipeline).__name__
    return folder
