"""Every name under which trainers store a layer, looked up exactly.

Names with dots replaced by underscores cannot be split again by rule (`to_out_0`, `time_emb_proj`), so nothing is
parsed: all spellings of all layers of the base are written into one dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Longest first where one begins another. `diffusion_model` is the UNet to Stability AI and ComfyUI.
PREFIXES = {
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te_": "text_encoder",
    "lora_transformer_": "transformer",
    "model.diffusion_model.": "unet",
    "diffusion_model.": "unet",
    "text_encoders.clip_l.transformer.": "text_encoder",
    "text_encoders.clip_g.transformer.": "text_encoder_2",
}
_WRAPPERS = ("base_model.model.", "lycoris_")
_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTER = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_SUFFIX = re.compile(
    r"(?P<stem>.+?)(?:"
    r"\.lora_(?P<letter>[AB])(?:\.\w+)?\.weight"
    r"|\.lora_(?P<word>down|up)\.weight"
    r"|(?:[._]lora|\.lora_linear_layer)\.(?P<old>down|up)\.weight"
    r"|\.(?P<alpha>alpha))"
)
_UNET_BLOCK = re.compile(r"(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.?(.*)")
_MID_BLOCK = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.?(.*)")


def split_key(key: str) -> tuple[str, str] | None:
    """(stem, part) of a LoRA tensor's name, part being `down`, `up` or `alpha`; None when it is no such name."""
    m = _SUFFIX.fullmatch(key)
    if not m:
        return None
    part = {"A": "down", "B": "up"}.get(m["letter"] or "") or m["word"] or m["old"] or m["alpha"]
    return m["stem"], part


class Names:
    """The layers of a base by every name other tools give them."""

    def __init__(self, modules: Iterable[str]):
        self._table: dict[tuple[str, str], str | None] = {}
        by_component: dict[str, list[str]] = {}
        for module in modules:
            component, _, rest = module.partition(".")
            by_component.setdefault(component, []).append(rest)
        self.components = tuple(by_component)
        for component, names in by_component.items():
            sgm = sgm_names(names) if component == "unet" else {}
            for name in names:
                for spelling in {*_spellings(component, name), *([sgm[name]] if name in sgm else [])}:
                    key = (component, spelling.replace(".", "_"))
                    module = f"{component}.{name}"
                    # Two layers that share a spelling: neither can be meant by it.
                    self._table[key] = module if self._table.get(key, module) == module else None

    def find(self, stem: str) -> str | None:
        """The full module name meant by a key without its tensor suffix, or None."""
        component, rest = split_component(stem, self.components)
        rest = rest.replace(".", "_")
        if component:
            return self._table.get((component, rest))
        hits = {self._table.get((each, rest)) for each in self.components} - {None}
        return hits.pop() if len(hits) == 1 else None


def split_component(stem: str, components: Iterable[str]) -> tuple[str, str]:
    """The component a key belongs to (empty when it names none) and the rest of the key."""
    stem = _unwrapped(stem)
    for component in sorted(components, key=len, reverse=True):
        if stem.startswith(component + "."):
            return component, _unwrapped(stem[len(component) + 1 :])
    for prefix, component in PREFIXES.items():
        if stem.startswith(prefix):
            return component, stem[len(prefix) :]
    return "", stem


def canonical(module: str) -> tuple[str, str]:
    """Component and layer name as every version of the stock libraries reads them.

    Newer transformers flattened CLIPTextModel; files keep the `text_model.` that older readers need and newer drop.
    """
    component, _, rest = module.partition(".")
    if component.startswith("text_encoder") and rest.startswith("encoder.layers."):
        rest = "text_model." + rest
    return component, rest


def sgm_names(names: Iterable[str]) -> dict[str, str]:
    """UNet layer name -> its name in Stability AI's own code (`input_blocks.4.1...`), which SDXL trainers write."""
    names = list(names)
    blocks = [(name, _UNET_BLOCK.fullmatch(name)) for name in names]
    per_block = 1 + max(
        (int(m[4]) for _, m in blocks if m and m[1] == "down_blocks" and m[3] in ("resnets", "attentions")), default=0
    )
    attending = {m[2] for _, m in blocks if m and m[1] == "up_blocks" and m[3] == "attentions"}
    found = {name: _OUTER[name] for name in names if name in _OUTER}
    for name, m in blocks:
        if m:
            found[name] = _sgm_block(m, per_block, m[2] in attending)
        elif mid := _MID_BLOCK.fullmatch(name):
            place = 1 if mid[1] == "attentions" else 2 * int(mid[2])
            found[name] = f"middle_block.{place}.{_sgm_inner(mid[1], mid[3])}"
    return found


def _sgm_block(m: re.Match[str], per_block: int, attends: bool) -> str:
    side, block, kind, index, inner = m[1], int(m[2]), m[3], int(m[4]), m[5]
    stride = per_block + 1
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * stride}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{block * stride + per_block}.{2 if attends else 1}.{inner}"
    place = 0 if kind == "resnets" else 1
    if side == "down_blocks":
        return f"input_blocks.{1 + block * stride + index}.{place}.{_sgm_inner(kind, inner)}"
    return f"output_blocks.{block * stride + index}.{place}.{_sgm_inner(kind, inner)}"


def _sgm_inner(kind: str, inner: str) -> str:
    return _RESNET.get(inner, inner) if kind == "resnets" else inner


def _spellings(component: str, name: str) -> Iterator[str]:
    yield name
    if component.startswith("text_encoder"):
        plain = name.removeprefix("text_model.")
        for each in (plain, "text_model." + plain):
            yield each
            # Before diffusers 0.18 text encoder keys were written like the UNet's.
            head, _, last = each.rpartition(".")
            if last in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield f"{head}.to_{last.removesuffix('_proj')}"
    head, _, last = name.removesuffix(".0").rpartition(".")
    if last in ("to_q", "to_k", "to_v", "to_out"):
        # Attention processors once owned the adapter: attn1.processor.to_out_lora.down.weight
        yield f"{head}.processor.{last}"
        yield f"{head}.{last}"


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name
