"""The parts of an MM-DiT base, read one by one from its folder or the Hub: transformer, autoencoder, text encoders."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bases import Base, pipeline_class
from .errors import ProblemsError
from .files import write_text
from .randomness import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .nets.layout_mmdit import LayoutMMDiT

PIPELINES = ("LayoutMMDiTPipeline", "StableDiffusion3Pipeline")

_CLIPS, _T5 = ("text_encoder", "text_encoder_2"), "text_encoder_3"
_T5_TOKENS = 256
_CREATILAYOUT = "SiamLayoutSD3Transformer2DModel"
T5_FORMATS = ("off", "full", "8bit", "4bit")


@contextlib.contextmanager
def _told(base: Base) -> Iterator[None]:
    """What goes wrong while a base is read, as a sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        # diffusers reports a missing file, a wrong shape and a dead network with these; the first line says which.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ProblemsError(f"base {base.name} cannot be loaded: {reason}") from error


def read_index(base: Base) -> Mapping[str, Any]:
    """The model_index.json of a base. Raises ProblemsError when it is not an MM-DiT that this program knows."""
    import diffusers

    if base.path is not None and base.path.is_file():
        raise ProblemsError(f"base {base.name} is a single file; this family reads model folders and Hub ids")
    pipeline_class(base, PIPELINES)
    with _told(base):
        index: Mapping[str, Any] = diffusers.DiffusionPipeline.load_config(base.source)
    if index.get("_class_name") not in PIPELINES:
        raise ProblemsError(f"base {base.name} is a {index.get('_class_name')}, expected {' or '.join(PIPELINES)}")
    return index


def text_encoders(index: Mapping[str, Any], t5: str) -> dict[str, str]:
    """The text encoders of a base and the format of each, T5 only where it is wanted. Raises ProblemsError."""
    if t5 in ("8bit", "4bit") and importlib.util.find_spec("bitsandbytes") is None:
        raise ProblemsError(
            f"options.t5 is {t5}, which needs a library that is not installed: pip install bitsandbytes, or choose full"
        )
    wanted = dict.fromkeys(_CLIPS, "full") | ({} if t5 == "off" else {_T5: t5})
    return {name: form for name, form in wanted.items() if (index.get(name) or [None])[0]}


def _quantized(form: str, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments that make transformers hold a model's matrices in fewer bits."""
    from transformers import BitsAndBytesConfig

    if form == "full":
        return {}
    bits = BitsAndBytesConfig(
        load_in_8bit=form == "8bit",
        load_in_4bit=form == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": bits, "device_map": {"": device}}


def read_model(base: Base, name: str, kind: Any, device: torch.device, dtype: torch.dtype, form: str = "full") -> Any:
    """One component of a base, frozen, in eval mode; on the `meta` device its shapes only."""
    import diffusers
    import torch
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    with _told(base):
        if device.type == "meta":
            with torch.device("meta"):
                if hasattr(kind, "config_class"):
                    model = kind(kind.config_class.from_pretrained(base.source, subfolder=name))
                else:
                    model = kind.from_config(kind.load_config(base.source, subfolder=name))
        else:
            bits = _quantized(form, device, dtype)
            found = kind.from_pretrained(base.source, subfolder=name, dtype=dtype, use_safetensors=True, **bits)
            model = found if bits else torch.nn.Module.to(found, device)
    return model.requires_grad_(False).eval()


def read_transformer(base: Base, device: torch.device, dtype: torch.dtype, untrained: bool) -> LayoutMMDiT | None:
    """The transformer with its layout branch. When the base has none, or one that was never trained: None, or where
    `untrained` is wanted the branch that training begins with, always the same."""
    import torch
    from diffusers import SD3Transformer2DModel

    from .nets.layout_mmdit import LayoutMMDiT

    with _told(base):
        declared = SD3Transformer2DModel.load_config(base.source, subfolder="transformer").get("_class_name")
    if declared in (LayoutMMDiT.__name__, _CREATILAYOUT):
        ours = declared != _CREATILAYOUT
        net = (
            read_model(base, "transformer", LayoutMMDiT, device, dtype) if ours else _creatilayout(base, device, dtype)
        )
        return net if untrained or device.type == "meta" or net.has_trained_branch() else None
    if not untrained:
        return None
    stock = read_model(base, "transformer", SD3Transformer2DModel, device, dtype)
    with torch.random.fork_rng(devices=[]), _told(base):
        torch.manual_seed(derive("layout branch"))
        with torch.device("meta" if device.type == "meta" else "cpu"):
            return LayoutMMDiT.from_stock(stock).requires_grad_(False).eval()


def _creatilayout(base: Base, device: torch.device, dtype: torch.dtype) -> LayoutMMDiT:
    """The transformer of a folder as CreatiLayout published it for SD3."""
    import torch
    from safetensors.torch import load_file

    from .nets.layout_mmdit import LayoutMMDiT, from_creatilayout

    if base.path is None:
        raise ProblemsError(f"base {base.name} has CreatiLayout's transformer; download it as a folder")
    with _told(base):
        config = dict(LayoutMMDiT.load_config(base.source, subfolder="transformer"))
        boxes = config.pop("max_boxes_per_image", None)
        with torch.device("meta"):
            net = LayoutMMDiT.from_config({**config, **({"max_boxes": boxes} if boxes else {})})
        if device.type != "meta":
            files = sorted((base.path / "transformer").glob("*.safetensors"))
            state = {name: value.to(dtype) for file in files for name, value in load_file(file).items()}
            net.load_state_dict(from_creatilayout(state), assign=True)
            torch.nn.Module.to(net, device)
    return net.requires_grad_(False).eval()


class CaptionReader:
    """The text encoders of a base, in memory only while captions are read."""

    def __init__(self, base: Base, encoders: Mapping[str, str], device: torch.device, dtype: torch.dtype, width: int):
        self.base, self.encoders, self.device, self.dtype, self.width = base, encoders, device, dtype, width
        self._loaded: dict[str, tuple[Any, Any]] = {}

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token embeddings (B, T, J) and pooled embeddings (B, P), as the base's transformer was trained on them."""
        import torch
        from torch.nn.functional import pad

        if not self._loaded:
            self._loaded = {name: self._load(name) for name in self.encoders}
        with torch.no_grad():
            clips = [self._read(name, captions) for name in self.encoders if name != _T5]
            if len(clips) == 1:
                return clips[0].last_hidden_state, clips[0].pooler_output
            text = torch.cat([clip.hidden_states[-2] for clip in clips], dim=-1)
            pooled = torch.cat([clip.text_embeds for clip in clips], dim=-1)
            # SD3 was trained with T5 left out now and then; its place is kept.
            long = (
                self._read(_T5, captions)[0]
                if _T5 in self.encoders
                else text.new_zeros(len(captions), _T5_TOKENS, self.width)
            )
            return torch.cat([pad(text, (0, self.width - text.shape[-1])), long], dim=1), pooled

    @property
    def in_memory(self) -> bool:
        """Whether the encoders are there now."""
        return bool(self._loaded)

    def release(self) -> None:
        """Forget the encoders until captions are read again."""
        self._loaded = {}

    def _read(self, name: str, captions: Sequence[str]) -> Any:
        tokenizer, model = self._loaded[name]
        length = _T5_TOKENS if name == _T5 else tokenizer.model_max_length
        ids = tokenizer(list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        more = {} if name == _T5 else {"output_hidden_states": True}
        return model(ids.input_ids.to(self.device), **more)

    def _load(self, name: str) -> tuple[Any, Any]:
        import transformers

        clip = transformers.CLIPTextModelWithProjection if _CLIPS[1] in self.encoders else transformers.CLIPTextModel
        kind = transformers.T5EncoderModel if name == _T5 else clip
        tokenizer = transformers.T5TokenizerFast if name == _T5 else transformers.CLIPTokenizer
        model = read_model(self.base, name, kind, self.device, self.dtype, self.encoders[name])
        return tokenizer.from_pretrained(self.base.source, subfolder=name.replace("text_encoder", "tokenizer")), model


@dataclass
class Folder:
    """The modules of a base, and how to write the base anew with what they are then."""

    base: Base
    transformer: Any
    vae: Any

    def save_pretrained(self, folder: Path, safe_serialization: bool = True) -> None:
        """A copy of the base's folder with the transformer as it is. Raises ProblemsError for a base on the Hub."""
        if self.base.path is None:
            raise ProblemsError(f"base {self.base.name} is on the Hub; download it as a folder to write a merged base")
        shutil.copytree(self.base.path, folder, ignore=shutil.ignore_patterns("transformer"), dirs_exist_ok=True)
        self.transformer.save_pretrained(folder / "transformer", safe_serialization=safe_serialization)
        index = json.loads((self.base.path / "model_index.json").read_text(encoding="utf-8"))
        kind = type(self.transformer)
        index |= {"_class_name": PIPELINES[0], "transformer": [kind.__module__, kind.__name__]}
        write_text(folder / "model_index.json", json.dumps(index, indent=2) + "\n")
