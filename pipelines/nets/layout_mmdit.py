"""SD3's MM-DiT with layout as a third modality (SiamLayout, Zhang et al. 2024, arXiv 2412.03859, sec. 3.2).

Every box becomes one token. In each block image and layout tokens meet in a joint attention of their own, beside the
one of image and text, so that the three modalities do not compete for one softmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from diffusers import SD3Transformer2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import FeedForward, JointTransformerBlock
from diffusers.models.attention_processor import Attention, JointAttnProcessor2_0
from diffusers.models.embeddings import get_fourier_embeds_from_boundingbox
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.normalization import AdaLayerNormContinuous, AdaLayerNormZero
from diffusers.utils.peft_utils import apply_lora_scale
from torch import Tensor, nn

_FREQUENCIES = 8
BOX_FEATURES = _FREQUENCIES * 2 * 4  # sine and cosine of each frequency, for four sides

# What the weights that CreatiLayout published for SD3 call our modules.
CREATILAYOUT = {
    "position_net.text_embedder.linear_1": "layout_processor.text_mlp.fc1",
    "position_net.text_embedder.linear_2": "layout_processor.text_mlp.fc2",
    "position_net.linears.linear_1": "layout_processor.layout_mlp.fc1",
    "position_net.linears.linear_2": "layout_processor.layout_mlp.fc2",
    "position_net.null_positive_feature": "layout_processor.null_text",
    "position_net.null_position_feature": "layout_processor.null_box",
    ".norm1_bbox.": ".norm1_layout.",
    ".bbox_fuser_block.": ".attn_layout.",
    ".bbox_forward.": ".layout_out.",
    ".ff_bbox.": ".ff_layout.",
}


class Layout(NamedTuple):
    """The boxes of a batch. N is any number up to the net's `max_boxes`; a slot that is not `present` is padding and
    what its row holds does not matter."""

    boxes: Tensor  # (B, N, 4), xyxy in [0, 1]
    captions: Tensor  # (B, N, C), pooled embedding of each region caption
    present: Tensor  # (B, N), bool


def from_creatilayout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of CreatiLayout's SiamLayout-SD3 to ours; other names stay as they are."""
    renamed = {}
    for name, value in state.items():
        for theirs, ours in CREATILAYOUT.items():
            name = name.replace(theirs, ours)
        renamed[name] = value
    return renamed


class Mlp(nn.Module):
    """Two linear layers with SiLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, values: Tensor) -> Tensor:
        return self.fc2(nn.functional.silu(self.fc1(values)))


class LayoutProcessor(nn.Module):
    """A layout to tokens (B, max_boxes, dim): what a box holds and where it is, or learned nulls in padding slots."""

    def __init__(self, caption_dim: int, dim: int, max_boxes: int):
        super().__init__()
        self.max_boxes = max_boxes
        self.text_mlp = Mlp(caption_dim, dim, dim)
        self.layout_mlp = Mlp(dim + BOX_FEATURES, dim // 2, dim)
        self.null_text = nn.Parameter(torch.zeros(dim))
        self.null_box = nn.Parameter(torch.zeros(BOX_FEATURES))

    def forward(self, layout: Layout) -> Tensor:
        # Zeros instead of whatever padding holds: a NaN there would reach the weights' gradients.
        padding = (0, 0, 0, self.max_boxes - layout.boxes.shape[1])
        present = nn.functional.pad(layout.present.bool().unsqueeze(-1), padding)
        boxes = nn.functional.pad(layout.boxes.float(), padding).masked_fill(~present, 0)
        captions = nn.functional.pad(layout.captions.to(self.null_text), padding).masked_fill(~present, 0)
        # The features turn by up to 53 radians over the picture, which half precision cannot resolve.
        place = get_fourier_embeds_from_boundingbox(_FREQUENCIES, boxes).to(self.null_box)
        text = torch.where(present, self.text_mlp(captions), self.null_text)
        return self.layout_mlp(torch.cat([text, torch.where(present, place, self.null_box)], dim=-1))


class LayoutBlock(JointTransformerBlock):
    """A joint block of SD3 with the layout branch beside it; without a layout it is the stock block."""

    def __init__(self, dim: int, heads: int, last: bool, qk_norm: str | None, dual_attention: bool):
        super().__init__(dim, heads, dim // heads, last, qk_norm, dual_attention)
        self.norm1_layout = (
            AdaLayerNormContinuous(dim, dim, elementwise_affine=False, eps=1e-6) if last else AdaLayerNormZero(dim)
        )
        self.attn_layout = Attention(
            query_dim=dim,
            added_kv_proj_dim=dim,
            dim_head=dim // heads,
            heads=heads,
            out_dim=dim,
            context_pre_only=last,
            bias=True,
            processor=JointAttnProcessor2_0(),
            qk_norm=qk_norm,
            eps=1e-6,
        )
        self.layout_out = nn.Linear(dim, dim)
        nn.init.zeros_(self.layout_out.weight)
        nn.init.zeros_(self.layout_out.bias)
        if not last:
            self.norm2_layout = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
            self.ff_layout = FeedForward(dim=dim, dim_out=dim, activation_fn="gelu-approximate")

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        joint_attention_kwargs: dict[str, Any] | None = None,
        layout: Tensor | None = None,
        layout_scale: float | Tensor = 1.0,
    ) -> tuple[Tensor | None, ...]:
        """(text, image) as the stock block without layout tokens, (text, image, layout) with them; what the last block
        does not compute is None. A tensor scale has the shape (B, 1, 1)."""
        if layout is None:
            return super().forward(hidden_states, encoder_hidden_states, temb, joint_attention_kwargs)
        image, gate, *image_ff = self.norm1(hidden_states, emb=temb)
        text, *text_gates = self._normalize(self.norm1_context, encoder_hidden_states, temb)
        boxes, *layout_gates = self._normalize(self.norm1_layout, layout, temb)
        attended, attended_text = self.attn(hidden_states=image, encoder_hidden_states=text)
        from_boxes, attended_boxes = self.attn_layout(hidden_states=image, encoder_hidden_states=boxes)
        attended = gate.unsqueeze(1) * attended + layout_scale * self.layout_out(from_boxes)
        hidden_states = hidden_states + attended
        if self.use_dual_attention:
            *image_ff, image2, gate2 = image_ff
            hidden_states = hidden_states + gate2.unsqueeze(1) * self.attn2(hidden_states=image2)
        hidden_states = _feed_forward(hidden_states, image_ff, self.norm2, self.ff)
        if self.context_pre_only:
            return None, hidden_states, None
        gate, *text_ff = text_gates
        text = encoder_hidden_states + gate.unsqueeze(1) * attended_text
        text = _feed_forward(text, text_ff, self.norm2_context, self.ff_context)
        gate, *layout_ff = layout_gates
        layout = layout + gate.unsqueeze(1) * attended_boxes
        return text, hidden_states, _feed_forward(layout, layout_ff, self.norm2_layout, self.ff_layout)

    def _normalize(self, norm: nn.Module, states: Tensor, temb: Tensor) -> tuple[Tensor, ...]:
        """The normalized states of text or layout and, but in the last block, their four modulations."""
        return (norm(states, temb),) if self.context_pre_only else norm(states, emb=temb)


def _feed_forward(states: Tensor, modulation: list[Tensor], norm: nn.Module, ff: nn.Module) -> Tensor:
    """The second half of a block for one modality; `modulation` is shift, scale and gate, each (B, D)."""
    shift, scale, gate = (value.unsqueeze(1) for value in modulation)
    return states + gate * ff(norm(states) * (1 + scale) + shift)


class LayoutMMDiT(SD3Transformer2DModel):
    """`SD3Transformer2DModel` that can be given boxes. Its config is the stock one and two more keys:
    `layout_caption_dim`, the width of the embedded region captions (None: `pooled_projection_dim`), and `max_boxes`.

    Without a layout, or with layout scale 0, it is the stock transformer, bit for bit. A layout of padding only is not
    the same: its null tokens take part in the attention. Padding slots' contents have no influence, and neither has the
    order of the boxes, up to rounding.
    """

    _no_split_modules = ["LayoutBlock"]

    @register_to_config
    def __init__(
        self,
        sample_size: int = 128,
        patch_size: int = 2,
        in_channels: int = 16,
        num_layers: int = 18,
        attention_head_dim: int = 64,
        num_attention_heads: int = 18,
        joint_attention_dim: int = 4096,
        caption_projection_dim: int = 1152,
        pooled_projection_dim: int = 2048,
        out_channels: int = 16,
        pos_embed_max_size: int = 96,
        dual_attention_layers: tuple[int, ...] = (),
        qk_norm: str | None = None,
        layout_caption_dim: int | None = None,
        max_boxes: int = 10,
    ):
        super().__init__(
            sample_size=sample_size,
            patch_size=patch_size,
            in_channels=in_channels,
            num_layers=0,  # the blocks below take the place of the stock ones
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            joint_attention_dim=joint_attention_dim,
            caption_projection_dim=caption_projection_dim,
            pooled_projection_dim=pooled_projection_dim,
            out_channels=out_channels,
            pos_embed_max_size=pos_embed_max_size,
            dual_attention_layers=dual_attention_layers,
            qk_norm=qk_norm,
        )
        self.register_to_config(num_layers=num_layers)
        self.transformer_blocks = nn.ModuleList(
            LayoutBlock(self.inner_dim, num_attention_heads, i == num_layers - 1, qk_norm, i in dual_attention_layers)
            for i in range(num_layers)
        )
        caption_dim = layout_caption_dim or pooled_projection_dim
        self.layout_processor = LayoutProcessor(caption_dim, self.inner_dim, max_boxes)

    @classmethod
    def from_stock(cls, stock: SD3Transformer2DModel, layout_caption_dim: int | None = None) -> LayoutMMDiT:
        """A copy of a stock transformer with a fresh layout branch, whose zero output changes nothing until trained.

        `from_pretrained` is for folders that have a branch: of a stock one it leaves the branch without memory.
        Raises ValueError when the weights are not those of an SD3 transformer.
        """
        model = cls.from_config(stock.config, layout_caption_dim=layout_caption_dim)
        nn.Module.to(model, stock.device, stock.dtype)  # `to` of diffusers warns of modules that are not there
        missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
        strange = [*unexpected, *(name for name in missing if "layout" not in name)]
        if strange:
            raise ValueError(f"these weights do not fit an SD3 transformer: {', '.join(strange)}")
        return model

    def has_trained_branch(self) -> bool:
        """Whether boxes can reach the image in any block: before training, the output of every branch is zero."""
        return any(bool(value.any()) for block in self.transformer_blocks for value in block.layout_out.parameters())

    @apply_lora_scale("joint_attention_kwargs")
    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        pooled_projections: Tensor,
        timestep: Tensor,
        layout: Layout | None = None,
        layout_scale: float | Tensor = 1.0,
        **stock: Any,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Predict from noisy latents (B, C, H, W), text (B, T, J), its pooled embedding (B, P) and timesteps (B,) in
        [0, 1000]; the result has the latents' shape.

        `layout_scale` multiplies what the branch adds to the image: a number, or a tensor (B,) with one for each row.
        With a layout, of the other `stock` arguments only `return_dict` and the LoRA scale are known. Raises ValueError
        for the others, and for a layout that does not fit.
        """
        if layout is None or (not isinstance(layout_scale, Tensor) and layout_scale == 0):
            return super().forward(hidden_states, encoder_hidden_states, pooled_projections, timestep, **stock)
        return_dict = stock.pop("return_dict", True)
        unknown = [name for name, value in stock.items() if value]
        if unknown:
            raise ValueError(f"{', '.join(unknown)} cannot be combined with a layout; leave one of them out")
        self._check(layout, len(hidden_states))
        if isinstance(layout_scale, Tensor):
            layout_scale = layout_scale.to(hidden_states).view(-1, 1, 1)
        image = self.pos_embed(hidden_states).contiguous()
        temb = self.time_text_embed(timestep, pooled_projections)
        text, boxes = self.context_embedder(encoder_hidden_states), self.layout_processor(layout)
        for block in self.transformer_blocks:
            inputs = (image, text, temb, None, boxes, layout_scale)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                text, image, boxes = self._gradient_checkpointing_func(block, *inputs)
            else:
                text, image, boxes = block(*inputs)
        image = self._unpatchify(self.proj_out(self.norm_out(image, temb)), hidden_states.shape)
        return Transformer2DModelOutput(sample=image) if return_dict else (image,)

    def _check(self, layout: Layout, rows: int) -> None:
        """Raise ValueError when the shapes of a layout do not fit the batch or the net."""
        width = self.layout_processor.text_mlp.fc1.in_features
        slots = layout.boxes.shape[1]
        expected = ((rows, slots, 4), (rows, slots, width), (rows, slots))
        for name, value, shape in zip(layout._fields, layout, expected, strict=True):
            if value.shape != shape:
                raise ValueError(f"{name} of the layout have the shape {tuple(value.shape)}, expected {shape}")
        if slots > self.config.max_boxes:
            raise ValueError(f"the layout has {slots} boxes, this net reads at most {self.config.max_boxes}")

    def _unpatchify(self, patches: Tensor, shape: torch.Size) -> Tensor:
        """Patches (B, H/p * W/p, p * p * C) to latents (B, C, H, W)."""
        size = self.config.patch_size
        rows, columns = shape[-2] // size, shape[-1] // size
        grid = patches.view(-1, rows, columns, size, size, self.out_channels)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(-1, self.out_channels, rows * size, columns * size)
