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
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from pipelines.nets.layout_mmdit import LayoutMMDiT

SD35 = {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}


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


def tiny_t5(width: int) -> tuple[T5EncoderModel, T5TokenizerFast]:
    """A T5 encoder and its tokenizer, which knows single letters."""
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *letters]
    config = T5Config(vocab_size=len(vocabulary), d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config), T5TokenizerFast(vocab=vocabulary, extra_ids=0)


def tiny_vae(shift: float | None = None) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        shift_factor=shift,
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
    defaults: dict[str, Any] = {
        "sample_size": 8,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 3,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "joint_attention_dim": 24,
        "caption_projection_dim": 32,
        "pooled_projection_dim": 20,
        "pos_embed_max_size": 12,
    }
    return SD3Transformer2DModel(**{**defaults, **config}).eval()


def open_branch(net: LayoutMMDiT) -> LayoutMMDiT:
    """The net with a branch that has an effect, as if it had been trained."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for block in net.transformer_blocks:
            block.layout_out.weight.normal_(std=0.3, generator=generator)
        net.layout_processor.null_text.normal_(generator=generator)
    return net.eval()


def _tiny_sd3(folder: Path, layout: bool) -> None:
    """A base of the SD3 kind without T5; with `layout` of the SD3.5 kind, with a trained branch."""
    tokenizer = tiny_tokenizer()
    net = tiny_mmdit(joint_attention_dim=36, pooled_projection_dim=32, **(SD35 if layout else {}))
    StableDiffusion3Pipeline(
        transformer=net,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_vae(shift=0.1),
        text_encoder=tiny_text_encoder(tokenizer, projection=True),
        tokenizer=tokenizer,
        text_encoder_2=tiny_text_encoder(tokenizer, projection=True),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    ).save_pretrained(folder, safe_serialization=True)
    if layout:
        open_branch(LayoutMMDiT.from_stock(net)).save_pretrained(folder / "transformer")


def _tiny_layout(folder: Path) -> None:
    """A base of the kind of emoji-mmdit."""
    tokenizer = tiny_tokenizer()
    net = LayoutMMDiT.from_stock(tiny_mmdit(joint_attention_dim=16, pooled_projection_dim=16))
    parts = {
        "vae": tiny_vae(),
        "text_encoder": tiny_text_encoder(tokenizer),
        "tokenizer": tokenizer,
        "transformer": open_branch(net),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    index: dict[str, Any] = {name: [type(part).__module__, type(part).__name__] for name, part in parts.items()}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LayoutMMDiTPipeline", **index}))


CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_llm_tokenizer(chat: bool) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes whose padding token is its end token, as in many a script."""
    specials = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    pieces = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bytewise = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": specials[1:]})
    if chat:
        tokenizer.chat_template = CHAT
    return tokenizer


def _tiny_llm(folder: Path, chat: bool) -> None:
    tokenizer = tiny_llm_tokenizer(chat)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=192,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.2,
        tie_word_embeddings=chat,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tiny_base(folder: Path, kind: str = "sd1") -> Path:
    """Save a random base of one kind and return its folder: `sd1`, `sd2` with v-prediction and zero SNR, `sdxl`;
    `layout` and `layout3` (with the two text encoders of SD3) with boxes, `sd3` without; `llm` with a chat template,
    `llm_plain` without one."""
    torch.manual_seed(0)
    if kind in ("llm", "llm_plain"):
        _tiny_llm(folder, chat=kind == "llm")
        return folder
    if kind in ("layout", "layout3", "sd3"):
        _tiny_layout(folder) if kind == "layout" else _tiny_sd3(folder, kind == "layout3")
        return folder
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
