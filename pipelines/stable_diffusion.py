"""Family `stable_diffusion`: LoRA on the UNet attention of SD 1.x, 2.x and XL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .bases import Base, pipeline_class
from .config import knob
from .errors import ProblemsError
from .family import Family, Item, Parts, PreviewRequest, PreviewResult, Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .randomness import Randomness

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")

_PROJECTIONS = r"\.(to_q|to_k|to_v|to_out\.0)"
TARGETS = (
    Target(r"unet\..*attn1" + _PROJECTIONS, "self-attention"),
    Target(r"unet\..*attn2" + _PROJECTIONS, "cross-attention"),
    Target(r"unet\..*(resnets\.\d+\.(conv1|conv2|conv_shortcut)|samplers\.\d+\.conv)", "convolution"),
    Target(r"text_encoder(_2)?\..*self_attn\.(q_proj|k_proj|v_proj|out_proj)", "text"),
)


@dataclass(frozen=True)
class StableDiffusionOptions:
    """What only this family has."""

    conv: bool = knob(False, "Also adapt the convolutions of the UNet (LoCon): stronger for styles, larger file.")
    text_encoder: bool = knob(False, "Also adapt the text encoder: new words become easier to learn, training slower.")
    caption_dropout: float = knob(0.1, "Share of samples trained without their caption, for guidance.", low=0, high=1)
    min_snr: float = knob(
        0.0,
        "Min-SNR gamma: evens out easy and hard noise levels; 0 turns it off. Not for bases with zero terminal SNR.",
        low=0,
        high=100,
    )
    noise_offset: float = knob(
        0.0, "Adds a random shift of brightness to the noise (for very dark or light pictures).", low=0, high=1
    )


class StableDiffusion(Family):
    """The UNet of a latent diffusion model learns from captioned pictures."""

    name: ClassVar[str] = "stable_diffusion"
    title: ClassVar[str] = "Stable Diffusion"
    sample_type: ClassVar[str] = "image + caption"
    options_class: ClassVar[type[Any]] = StableDiffusionOptions

    def load(self, base: Base, device: torch.device, dtype: torch.dtype) -> Parts:
        from diffusers import DDPMScheduler

        pipeline = _on_meta(base) if device.type == "meta" else _pipeline(base, dtype)
        encoders = {
            name: module
            for name in ("text_encoder", "text_encoder_2")
            if (module := getattr(pipeline, name, None)) is not None
        }
        parts = Parts(model={"unet": pipeline.unet, **encoders}, device=device, dtype=dtype)
        for module in (*parts.model.values(), pipeline.vae):
            module.requires_grad_(False).eval()
        if device.type != "meta":
            pipeline.to(device)
            # Half precision overflows in the decoder of XL and costs little elsewhere.
            pipeline.vae.float()
        parts.rest = {
            "pipeline": pipeline,
            "noise": DDPMScheduler.from_config(pipeline.scheduler.config),
            "multiple": _multiple(pipeline.vae.config, pipeline.unet.config),
            "size": _native_size(pipeline),
            "kind": _kind(pipeline),
        }
        return parts

    def multiple(self, base: Base) -> int | None:
        try:
            return _multiple(base.config("vae"), base.config("unet"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def targets(self, parts: Parts) -> list[Target]:
        wanted = {"self-attention", "cross-attention"}
        wanted |= {"convolution"} if self.options.conv else set()
        wanted |= {"text"} if self.options.text_encoder else set()
        return [target for target in TARGETS if target.group in wanted]

    def groups(self, parts: Parts) -> list[Target]:
        return list(TARGETS)

    def cache_key(self, base: Base) -> str:
        return json.dumps([self.name, base.fingerprint, self.options.text_encoder])

    def encode(self, parts: Parts, item: Item) -> dict[str, Tensor]:
        import torch

        vae = parts.rest["pipeline"].vae
        with torch.no_grad():
            posterior = vae.encode(item.pixels.unsqueeze(0).to(parts.device, vae.dtype)).latent_dist
            encoded = {"latent_mean": posterior.mean[0], "latent_std": posterior.std[0]}
            if self.options.text_encoder:
                encoded |= _token_ids(parts, item.caption)
            else:
                encoded |= {
                    name: value[0] for name, value in _embed(parts, _rows(_token_ids(parts, item.caption))).items()
                }
        if parts.rest["kind"] == "sdxl":
            height, width = item.pixels.shape[1:]
            encoded["time_ids"] = torch.tensor([*item.original, *item.corner, height, width], dtype=torch.float32)
        return encoded

    def loss(self, parts: Parts, batch: dict[str, Tensor], draw: Randomness) -> Tensor:
        import torch

        from .objectives import ddpm

        scheduler, vae = parts.rest["noise"], parts.rest["pipeline"].vae
        latents = batch["latent_mean"] + batch["latent_std"] * draw.normal("posterior", batch["latent_mean"])
        latents = (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor
        noise = draw.normal("noise", latents)
        if self.options.noise_offset:
            noise = noise + self.options.noise_offset * draw.normal("offset", latents[:, :, :1, :1])
        steps = (draw.uniform("timestep") * scheduler.config.num_train_timesteps).long()
        alpha_bar = scheduler.alphas_cumprod[steps]
        prediction_type = scheduler.config.prediction_type
        noisy = ddpm.add_noise(latents, noise, alpha_bar)
        conditions = self._conditions(parts, batch, draw)
        predicted = parts.model["unet"](noisy.to(parts.dtype), steps.to(parts.device), **conditions).sample
        error = (
            (predicted.float() - ddpm.target(prediction_type, latents, noise, alpha_bar)).square().mean(dim=(1, 2, 3))
        )
        weight = ddpm.min_snr_weight(prediction_type, alpha_bar, self.options.min_snr).to(error.device)
        return torch.mean(error * weight)

    def _conditions(self, parts: Parts, batch: dict[str, Tensor], draw: Randomness) -> dict[str, Any]:
        """Keyword arguments of the UNet: text, of which some rows are emptied, and the sizes that XL wants."""
        import torch

        dropped = (draw.uniform("caption") < self.options.caption_dropout).to(parts.device)
        names: list[str] = [name for name in ("ids", "ids_2", "text", "pooled") if name in batch]
        if self.options.text_encoder:
            empty = _rows(_token_ids(parts, ""))
        else:
            if "empty" not in parts.rest:
                with torch.no_grad():
                    parts.rest["empty"] = _embed(parts, _rows(_token_ids(parts, "")))
            empty = parts.rest["empty"]
        text = {
            name: torch.where(dropped.view(-1, *[1] * (batch[name].ndim - 1)), empty[name].to(batch[name]), batch[name])
            for name in names
        }
        if self.options.text_encoder:
            text = _embed(parts, text)
        conditions: dict[str, Any] = {"encoder_hidden_states": text["text"].to(parts.dtype)}
        if parts.rest["kind"] == "sdxl":
            conditions["added_cond_kwargs"] = {
                "text_embeds": text["pooled"].to(parts.dtype),
                "time_ids": batch["time_ids"].to(parts.dtype),
            }
        return conditions

    def preview(self, parts: Parts, request: PreviewRequest) -> PreviewResult:
        import torch

        pipeline, copies = parts.rest["pipeline"], request.copies
        vae, multiple = pipeline.vae, parts.rest["multiple"]
        width, height = (
            max(multiple, (side or parts.rest["size"]) // multiple * multiple)
            for side in (request.width, request.height)
        )
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        shape = (1, pipeline.unet.config.in_channels, height // factor, width // factor)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
        with torch.inference_mode():
            latents = pipeline(
                prompt=[request.prompt] * copies,
                negative_prompt=[request.negative_prompt] * copies,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance,
                width=width,
                height=height,
                latents=noise.repeat(copies, 1, 1, 1).to(parts.device, parts.dtype),
                output_type="latent",
            ).images
            latents = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
            pictures = vae.decode(latents).sample
        return PreviewResult(images=tuple(pipeline.image_processor.postprocess(pictures, output_type="pil")))


def _pipeline(base: Base, dtype: torch.dtype) -> Any:
    """The stock pipeline of a base, its class read from the folder or guessed from the file's tensor names."""
    import diffusers
    import transformers

    declared = pipeline_class(base, PIPELINES)
    path = base.path
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        if path is not None and path.is_file():
            kind = getattr(diffusers, _single_file_class(path))
            pipeline = kind.from_single_file(str(path), dtype=dtype)
        else:
            kind = getattr(diffusers, declared) if declared else diffusers.DiffusionPipeline
            only_own = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            pipeline = kind.from_pretrained(
                base.source, dtype=dtype, use_safetensors=True, **(only_own if declared == PIPELINES[0] else {})
            )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        # diffusers reports a missing file, a wrong shape and a dead network with these; the first line says which.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ProblemsError(f"base {base.name} cannot be loaded: {reason}") from error
    if type(pipeline).__name__ not in PIPELINES:
        raise ProblemsError(f"base {base.name} is a {type(pipeline).__name__}, expected {' or '.join(PIPELINES)}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _single_file_class(path: Any) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
    except (SafetensorError, OSError) as error:
        raise ProblemsError(f"base {path.name} is not a safetensors file ({error}); download it again") from error
    if any(name.startswith("conditioner.embedders.1.") for name in names):
        return "StableDiffusionXLPipeline"
    if any(name.startswith("model.diffusion_model.") for name in names):
        return "StableDiffusionPipeline"
    raise ProblemsError(
        f"base {path.name} holds no Stable Diffusion UNet (model.diffusion_model.*); is it an adapter or another model?"
    )


def _on_meta(base: Base) -> Any:
    """The base's parts without weights, to count bytes: only folders and bundled bases can be measured so."""
    import diffusers
    import torch
    import transformers

    declared, path = pipeline_class(base, PIPELINES), base.path
    if declared is None or path is None:
        raise ProblemsError(f"base {base.name} cannot be estimated before it is downloaded as a folder")
    index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    loaded: dict[str, Any] = {}
    for name, entry in index.items():
        if not isinstance(entry, list) or entry[0] not in ("diffusers", "transformers"):
            continue
        kind = getattr(diffusers if entry[0] == "diffusers" else transformers, entry[1])
        if name in ("unet", "vae"):
            with torch.device("meta"):
                loaded[name] = kind.from_config(kind.load_config(str(path / name)))
        elif name.startswith("text_encoder"):
            with torch.device("meta"):
                loaded[name] = kind(kind.config_class.from_pretrained(str(path / name)))
        elif name.startswith(("tokenizer", "scheduler")):
            loaded[name] = kind.from_pretrained(str(path / name))
    from types import SimpleNamespace

    return SimpleNamespace(**loaded)


def _kind(pipeline: Any) -> str:
    """`sd1`, `sd2` or `sdxl`, told apart as published checkpoints differ."""
    if getattr(pipeline, "text_encoder_2", None) is not None:
        return "sdxl"
    return "sd2" if pipeline.unet.config.cross_attention_dim == 1024 else "sd1"


def _multiple(vae: Mapping[str, Any], unet: Mapping[str, Any]) -> int:
    """Every block but the last of autoencoder and UNet halves the sides."""
    return int(2 ** (len(vae["block_out_channels"]) + len(unet["block_out_channels"]) - 2))


def _native_size(pipeline: Any) -> int:
    return int(pipeline.unet.config.sample_size) * 2 ** (len(pipeline.vae.config.block_out_channels) - 1)


def _token_ids(parts: Parts, caption: str) -> dict[str, Tensor]:
    """Token ids (T,) for each text encoder; captions longer than the encoder reads are cut."""
    pipeline = parts.rest["pipeline"]
    found = {}
    for name, attribute in (("ids", "tokenizer"), ("ids_2", "tokenizer_2")):
        tokenizer = getattr(pipeline, attribute, None)
        if tokenizer is not None:
            found[name] = tokenizer(
                caption,
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids[0]
    return found


def _rows(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.unsqueeze(0) for name, value in values.items()}


def _embed(parts: Parts, ids: dict[str, Tensor]) -> dict[str, Tensor]:
    """`text` (B, T, D) and, for XL, `pooled` (B, P): the states its UNet was trained on."""
    import torch

    encoders = parts.model
    if "text_encoder_2" not in encoders:
        return {"text": encoders["text_encoder"](ids["ids"].to(parts.device))[0]}
    first = encoders["text_encoder"](ids["ids"].to(parts.device), output_hidden_states=True)
    second = encoders["text_encoder_2"](ids["ids_2"].to(parts.device), output_hidden_states=True)
    # XL reads the last layer but one of both encoders, and the projected end token of the second.
    return {"text": torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), "pooled": second[0]}
