"""Family `mmdit_layout`: LoRA on the layout branch of an MM-DiT, which draws what boxes and their captions ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .bases import Base
from .config import knob
from .errors import ProblemsError
from .family import Family, Item, Parts, PreviewRequest, PreviewResult, Target
from .mmdit_parts import T5_FORMATS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .data.regions import Region
    from .nets.layout_mmdit import Layout, LayoutMMDiT
    from .randomness import Randomness

_BLOCKS = r"transformer\.transformer_blocks\.\d+\."
TARGETS = (
    Target(r"transformer\.layout_processor\.layout_mlp\.fc[12]", "boxes"),
    Target(r"transformer\.layout_processor\.text_mlp\.fc[12]", "region captions"),
    Target(_BLOCKS + r"attn_layout\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)", "layout attention"),
    Target(_BLOCKS + r"ff_layout\.net\.(0\.proj|2)", "layout feed-forward"),
    Target(_BLOCKS + r"layout_out", "layout output"),
)
# How many of the targets, from the first, belong to a scope; with `whole` the branch itself is trained.
SCOPES = {"layout_mlp": 1, "text_mlp": 2, "branch": len(TARGETS), "whole": 0}
_PROCESSOR = r"transformer\.layout_processor\."
# What an adapter made elsewhere may have, and parameters trained whole.
GROUPS = (
    Target(_PROCESSOR + r"(layout_mlp|null_box).*", "boxes"),
    Target(_PROCESSOR + r"(text_mlp|null_text).*", "region captions"),
    Target(_BLOCKS + r"(attn_layout|norm1_layout).*", "layout attention"),
    Target(_BLOCKS + r"ff_layout.*", "layout feed-forward"),
    Target(_BLOCKS + r"layout_out.*", "layout output"),
)


@dataclass(frozen=True)
class LayoutOptions:
    """What only this family has."""

    scope: str = knob(
        "layout_mlp",
        "What learns. layout_mlp: how boxes are read; text_mlp: their captions as well; branch: also the attention, "
        "feed-forward and output of boxes in every block; whole: all that itself, not by LoRA, for bases without it.",
        choices=tuple(SCOPES),
        advanced=False,
    )
    caption_dropout: float = knob(0.1, "Share of samples trained without their caption, for guidance.", low=0, high=1)
    layout_dropout: float = knob(0.1, "Share of samples trained without their boxes, for guidance.", low=0, high=1)
    time_mean: float = knob(
        0.0, "Which noise is trained on most: 0 middling; above 0 more of it, below 0 less.", low=-3, high=3
    )
    t5: str = knob(
        "off",
        "Also read captions with T5, where the base has it: for long captions. While they are read it takes 10 GB, "
        "5 GB with 8bit and 3 GB with 4bit, which need bitsandbytes.",
        choices=T5_FORMATS,
    )


class MMDiTLayout(Family):
    """The layout branch of an MM-DiT learns from pictures with a caption, boxes, and a caption for each box."""

    name: ClassVar[str] = "mmdit_layout"
    title: ClassVar[str] = "Layout MM-DiT"
    sample_type: ClassVar[str] = "image + caption + boxes with captions"
    reads_regions: ClassVar[bool] = True
    options_class: ClassVar[type[Any]] = LayoutOptions

    def load(self, base: Base, device: torch.device, dtype: torch.dtype) -> Parts:
        import torch
        from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler

        from .mmdit_parts import CaptionReader, Folder, read_index, read_model, read_transformer, text_encoders

        index = read_index(base)
        whole = self.options.scope == "whole"
        net = read_transformer(base, device, dtype, untrained=whole)
        if net is None:
            raise ProblemsError(
                f"base {base.name} has no trained layout branch: whatever an adapter in it computes meets an output "
                "that is zero, so it would learn nothing; choose a base that has one, or train it with "
                "options.scope=whole"
            )
        # Some autoencoders overflow in half precision, and it would save little.
        vae = read_model(base, "vae", AutoencoderKL, device, torch.float32)
        encoders = text_encoders(index, self.options.t5)
        return Parts(
            model={"transformer": net},
            extra=_branch(net) if whole else {},
            device=device,
            dtype=dtype,
            rest={
                "pipeline": Folder(base, net, vae),
                "captions": CaptionReader(base, encoders, device, dtype, net.config.joint_attention_dim),
                "scheduler": FlowMatchEulerDiscreteScheduler.from_pretrained(base.source, subfolder="scheduler"),
                "multiple": _multiple(vae.config, net.config),
            },
        )

    def multiple(self, base: Base) -> int | None:
        try:
            return _multiple(base.config("vae"), base.config("transformer"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def targets(self, parts: Parts) -> list[Target]:
        found = list(TARGETS[: SCOPES[self.options.scope]])
        # What the last block asks on behalf of the boxes is answered to nobody, so that layer could not learn.
        last = parts.model["transformer"].config.num_layers - 1
        unread = rf"(?!.*\.{last}\.attn_layout\.add_q_proj)"
        return [Target(unread + each.pattern, each.group) for each in found]

    def groups(self, parts: Parts) -> list[Target]:
        return list(GROUPS)

    def cache_key(self, base: Base) -> str:
        return json.dumps([self.name, base.fingerprint, self.options.t5])

    def encode(self, parts: Parts, item: Item) -> dict[str, Tensor]:
        import torch

        vae, net = parts.rest["pipeline"].vae, parts.model["transformer"]
        _check_size(parts, *item.pixels.shape[:0:-1])
        with torch.no_grad():
            posterior = vae.encode(item.pixels.unsqueeze(0).to(parts.device, vae.dtype)).latent_dist
        text, pooled = parts.rest["captions"]([item.caption])
        # Whoever gave a picture more boxes than the net reads was told that the largest count.
        largest = sorted(item.regions, key=_area, reverse=True)[: net.config.max_boxes]
        layout = _layout(parts, largest)
        return {
            "latent_mean": posterior.mean[0],
            "latent_std": posterior.std[0],
            "text": text[0],
            "pooled": pooled[0],
            **{name: value[0] for name, value in layout._asdict().items()},
        }

    def release(self, parts: Parts) -> None:
        if self.options.caption_dropout:
            _nothing(parts)
        parts.rest["captions"].release()

    def loss(self, parts: Parts, batch: dict[str, Tensor], draw: Randomness) -> Tensor:
        from .nets.layout_mmdit import Layout
        from .objectives import flow

        scheduler, vae = parts.rest["scheduler"].config, parts.rest["pipeline"].vae.config
        latents = batch["latent_mean"] + batch["latent_std"] * draw.normal("posterior", batch["latent_mean"])
        latents = (latents - (vae.shift_factor or 0.0)) * vae.scaling_factor
        noise = draw.normal("noise", latents)
        t = flow.shifted(flow.logit_normal(draw.uniform("time"), self.options.time_mean), scheduler.shift)
        text, pooled = self._captions(parts, batch, draw)
        # Without its boxes a sample teaches what no layout looks like: guidance leads away from there.
        kept = (draw.uniform("layout") >= self.options.layout_dropout).to(parts.device)
        layout = Layout(batch["boxes"], batch["captions"], batch["present"] & kept.unsqueeze(-1))
        times = (t * scheduler.num_train_timesteps).to(parts.device)
        noisy = flow.add_noise(latents, noise, t).to(parts.dtype)
        predicted = parts.model["transformer"](noisy, text, pooled, times, layout).sample
        return (predicted.float() - flow.target(latents, noise)).square().mean()

    def _captions(self, parts: Parts, batch: dict[str, Tensor], draw: Randomness) -> tuple[Tensor, Tensor]:
        """Text and pooled text of a batch, some rows without words."""
        import torch

        text, pooled = (batch[name].to(parts.dtype) for name in ("text", "pooled"))
        dropped = (draw.uniform("caption") < self.options.caption_dropout).to(parts.device)
        if not self.options.caption_dropout:
            return text, pooled
        no_text, no_pooled = _nothing(parts)
        return torch.where(dropped.view(-1, 1, 1), no_text, text), torch.where(dropped.view(-1, 1), no_pooled, pooled)

    def preview(self, parts: Parts, request: PreviewRequest) -> PreviewResult:
        import torch
        from diffusers import FlowMatchEulerDiscreteScheduler
        from diffusers.image_processor import VaeImageProcessor

        net, vae, copies = parts.model["transformer"], parts.rest["pipeline"].vae, request.copies
        multiple, factor = parts.rest["multiple"], _factor(vae.config)
        width, height = (
            max(multiple, (side or net.config.sample_size * factor) // multiple * multiple)
            for side in (request.width, request.height)
        )
        _check_size(parts, width, height)
        noise = torch.randn(
            (1, net.config.in_channels, height // factor, width // factor),
            generator=torch.Generator().manual_seed(request.seed),
        )
        # Guidance leads away from the negative prompt and from no boxes.
        prompts = [request.negative_prompt, request.prompt][0 if request.guidance > 1 else 1 :]
        text, pooled = (value.repeat_interleave(copies, 0) for value in parts.rest["captions"](prompts))
        layout = _requested(parts, request, len(prompts))
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(parts.rest["scheduler"].config)
        scheduler.set_timesteps(request.steps, device=parts.device)
        until = round(request.steps * request.layout_until / 100)
        with torch.inference_mode():
            latents = noise.repeat(copies, 1, 1, 1).to(parts.device)
            for number, time in enumerate(scheduler.timesteps):
                rows = latents.repeat(len(prompts), 1, 1, 1).to(parts.dtype)
                scale = request.layout_scale if number < until else 0.0
                velocity = net(rows, text, pooled, time.expand(len(rows)), layout, scale).sample.float()
                *away, towards = velocity.chunk(len(prompts))
                velocity = away[0] + request.guidance * (towards - away[0]) if away else towards
                latents = scheduler.step(velocity, time, latents, return_dict=False)[0]
            pictures = vae.decode(latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)).sample
        return PreviewResult(images=tuple(VaeImageProcessor().postprocess(pictures, output_type="pil")))


def _branch(net: LayoutMMDiT) -> dict[str, nn.Module]:
    """The modules of the layout branch by full name."""
    names = ("norm1_layout", "attn_layout", "layout_out", "ff_layout")
    found: dict[str, nn.Module] = {"transformer.layout_processor": net.layout_processor}
    for number, block in enumerate(net.transformer_blocks):
        modules = {name: getattr(block, name, None) for name in names}
        found |= {f"transformer.transformer_blocks.{number}.{name}": each for name, each in modules.items() if each}
    return found


def _layout(parts: Parts, regions: Sequence[Region]) -> Layout:
    """One layout (1, max_boxes, ...) of regions."""
    import torch

    from .nets.layout_mmdit import Layout

    net = parts.model["transformer"]
    width = net.config.layout_caption_dim or net.config.pooled_projection_dim
    boxes, captions = torch.zeros(1, net.config.max_boxes, 4), torch.zeros(1, net.config.max_boxes, width)
    boxes, captions = boxes.to(parts.device), captions.to(parts.device, parts.dtype)
    if regions:
        boxes[0, : len(regions)] = torch.tensor([region.box for region in regions])
        captions[0, : len(regions)] = parts.rest["captions"]([region.caption for region in regions])[1]
    return Layout(boxes, captions, torch.arange(net.config.max_boxes, device=parts.device)[None] < len(regions))


def _requested(parts: Parts, request: PreviewRequest, prompts: int) -> Layout:
    """The layout of each row of a preview: under guidance the first half has no boxes."""
    import torch

    limit = parts.model["transformer"].config.max_boxes
    if len(request.regions) > limit:
        raise ProblemsError(f"regions are {len(request.regions)}, this base reads at most {limit}: take some out")
    layout = _layout(parts, request.regions)
    nothing = layout._replace(present=torch.zeros_like(layout.present))
    pairs = zip(*[nothing, layout][-prompts:], strict=True)
    return type(layout)(*(torch.cat(values).repeat_interleave(request.copies, 0) for values in pairs))


def _nothing(parts: Parts) -> tuple[Tensor, Tensor]:
    """Text and pooled text of no words, read once."""
    if "nothing" not in parts.rest:
        parts.rest["nothing"] = tuple(value.to(parts.dtype) for value in parts.rest["captions"]([""]))
    text, pooled = parts.rest["nothing"]
    return text, pooled


def _area(region: Region) -> float:
    left, top, right, bottom = region.box
    return (right - left) * (bottom - top)


def _factor(vae: Mapping[str, Any]) -> int:
    """Pixels per latent: every block of the autoencoder but the last halves the sides."""
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def _multiple(vae: Mapping[str, Any], transformer: Mapping[str, Any]) -> int:
    """Pixels per patch."""
    return _factor(vae) * int(transformer["patch_size"])


def _check_size(parts: Parts, width: int, height: int) -> None:
    """Raise ProblemsError for a picture of more patches than the transformer has places for."""
    limit = parts.model["transformer"].config.pos_embed_max_size * parts.rest["multiple"]
    if max(width, height) > limit:
        raise ProblemsError(f"the picture is {width} x {height} px, this base draws at most {limit} px a side")
