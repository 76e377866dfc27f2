"""The parts of VoRA that are not the language model's: the vision embedding beside it, and the teacher, a vision
transformer whose blocks it learns from."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bases import BUNDLED_FOLDER, TEACHERS, Base, find_base
from .errors import ProblemsError
from .files import write_tensors, write_text
from .randomness import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .nets.vision_embedding import VisionEmbedding

# A merged base keeps its vision embedding in this folder beside the language model.
FOLDER = "vision_embedding"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_EXAMPLES = "a ViT such as google/vit-base-patch16-224, facebook/dinov2-small or apple/aimv2-large-patch14-224"
# A class token, and the registers of those that have them.
_MOST_BESIDE_PATCHES = 16
_NEUTRAL = (0.5, 0.5, 0.5)
_INTERPOLATE = "interpolate_pos_encoding"


def read_vision_embedding(base: Base, size: tuple[int, int], words: Tensor, device: torch.device) -> VisionEmbedding:
    """The vision embedding that training begins with, always the same for a base: its own where it was merged with
    one, else a new one for pictures of this side and patch, with elements as large as those of `words`. In float32,
    frozen. Raises ProblemsError.
    """
    import torch
    from safetensors.torch import load_file

    from .nets.vision_embedding import VisionEmbedding

    folder = base.path / FOLDER if base.path is not None else None
    meta = device.type == "meta"
    try:
        if folder is None or not folder.is_dir():
            with torch.device("meta" if meta else "cpu"):
                net = VisionEmbedding(*size, words.shape[1], words.shape[1])
            if not meta:
                # A power of two near it: the same in whichever precision the words were loaded.
                net.start(derive("vision embedding"), 2.0 ** round(math.log2(float(words.float().std()))))
        else:
            config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
            with torch.device("meta" if meta else "cpu"):
                net = VisionEmbedding(*(int(config[name]) for name in ("size", "patch", "width", "hidden")))
            if not meta:
                net.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ProblemsError(f"the vision embedding of base {base.name} cannot be read: {_first_line(error)}") from error
    return net.to(device).requires_grad_(False).eval()


def write_vision_embedding(net: VisionEmbedding, folder: Path) -> None:
    """Put a vision embedding beside a merged language model."""
    config = {
        "size": net.size,
        "patch": net.patch.kernel_size[0],
        "width": net.patch.out_channels,
        "hidden": net.projection.out_features,
    }
    write_text(folder / FOLDER / _CONFIG, json.dumps(config, indent=2) + "\n")
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    write_tensors(folder / FOLDER / _WEIGHTS, tensors)


def find_teacher(name: str) -> Base:
    """A bundled teacher, a folder or a Hub id. Raises ProblemsError."""
    if name in TEACHERS:
        return Base(name, str(BUNDLED_FOLDER / name))
    try:
        return find_base(name)
    except ProblemsError as error:
        raise ProblemsError(
            f"options.teacher is {name!r}, must be the name of a bundled one, a folder, or the Hub id of {_EXAMPLES}; "
            "or set options.distillation=0 to learn without one"
        ) from error


@dataclass(frozen=True)
class TeacherShape:
    """What the config of a vision transformer says: how many blocks of which width, for how many pixels a side, cut
    into patches of how many."""

    blocks: int
    width: int
    size: int
    patch: int


def teacher_shape(base: Base) -> TeacherShape:
    """Read without loading the teacher. Raises ProblemsError when it is no vision transformer."""
    config = _vision_config(_config(base))
    try:
        numbers = [config.num_hidden_layers, config.hidden_size, _side(config.image_size), _side(config.patch_size)]
        found = TeacherShape(*map(int, numbers))
    except (AttributeError, TypeError, ValueError):
        raise _no_vit(base, config.model_type) from None
    if min(found.blocks, found.width, found.patch) < 1 or found.size < found.patch:
        raise _no_vit(base, config.model_type)
    return found


class Teacher:
    """A frozen vision transformer that tells, for each block, what it makes of every patch of pictures as `seen` has
    them: (side, patch) in pixels."""

    def __init__(self, base: Base, seen: tuple[int, int], device: torch.device, dtype: torch.dtype):
        self.shape, self.grid = teacher_shape(base), seen[0] // seen[1]
        self.model = _load(base).to(device, dtype).requires_grad_(False).eval()
        self.mean, self.deviation = _normalization(base)
        # Best is one patch of the teacher for one of ours, but it shall not see less of a picture than we do. Some only
        # read pictures of the size they were trained on.
        least = math.ceil(seen[0] / self.shape.patch)
        for size in (max(self.grid, least) * self.shape.patch, self.shape.size):
            self.size = size
            if self._fits():
                return
        raise _no_vit(base, self.model.config.model_type)

    def states(self, pixels: Tensor) -> Tensor:
        """Of pictures (B, 3, H, W) in [-1, 1] the hidden states of all blocks (B, blocks, grid * grid, width)."""
        import torch

        from .nets.vision_embedding import resized

        found = torch.stack([self._patches(each) for each in self._raw(pixels)], dim=1)
        side = self.size // self.shape.patch
        return resized(found.flatten(0, 1), (side, side), (self.grid, self.grid)).unflatten(0, found.shape[:2])

    def _raw(self, pixels: Tensor) -> tuple[Tensor, ...]:
        import torch
        from torch.nn.functional import interpolate

        parameter, more = next(self.model.parameters()), {}
        if self.size != self.shape.size and _INTERPOLATE in inspect.signature(self.model.forward).parameters:
            more[_INTERPOLATE] = True
        pixels = pixels.to(parameter.device, torch.float32)
        if pixels.shape[-1] != self.size:
            pixels = interpolate(pixels, size=(self.size, self.size), mode="bicubic", antialias=True).clamp(-1, 1)
        mean, deviation = (pixels.new_tensor(each).view(1, 3, 1, 1) for each in (self.mean, self.deviation))
        pixels = ((pixels + 1) / 2 - mean) / deviation
        with torch.no_grad():
            told = self.model(pixel_values=pixels.to(parameter.dtype), output_hidden_states=True, **more)
        states: tuple[Tensor, ...] = told.hidden_states
        return states[1:]  # the first are the embeddings

    def _patches(self, states: Tensor) -> Tensor:
        """The states of patches; a class token and registers stand before them."""
        return states[:, -((self.size // self.shape.patch) ** 2) :]

    def _fits(self) -> bool:
        """Whether it reads pictures of this size, and has a state for every patch after every block."""
        import torch

        try:
            told = self._raw(torch.zeros(1, 3, self.size, self.size))
        except (ValueError, RuntimeError, TypeError, AttributeError):
            return False
        count = (self.size // self.shape.patch) ** 2
        return len(told) == self.shape.blocks and all(
            state.ndim == 3
            and state.shape[2] == self.shape.width
            and 0 <= state.shape[1] - count <= _MOST_BESIDE_PATCHES
            for state in told
        )


def _load(base: Base) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    loud = transformers.utils.logging.get_verbosity()
    try:
        # It warns of a pooler without weights, which nobody asks.
        transformers.utils.logging.set_verbosity_error()
        model = transformers.AutoModel.from_pretrained(base.source, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
        raise ProblemsError(f"teacher {base.name} cannot be loaded: {_first_line(error)}") from error
    finally:
        transformers.utils.logging.set_verbosity(loud)
    # Of a model of pictures and text the half that sees.
    return getattr(model, "vision_model", model)


def _config(base: Base) -> Any:
    import transformers

    try:
        return transformers.AutoConfig.from_pretrained(base.source)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProblemsError(f"teacher {base.name} cannot be loaded: {_first_line(error)}") from error


def _vision_config(config: Any) -> Any:
    return getattr(config, "vision_config", config)


def _normalization(base: Base) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of what the teacher was trained on, by its preprocessor_config.json."""
    from transformers import ImageProcessingMixin

    try:
        found, _ = ImageProcessingMixin.get_image_processor_dict(base.source)
        mean, deviation = (tuple(map(float, found[name])) for name in ("image_mean", "image_std"))
    except (OSError, ValueError, KeyError, TypeError):
        return _NEUTRAL, _NEUTRAL
    return (mean, deviation) if len(mean) == len(deviation) == 3 and min(deviation) > 0 else (_NEUTRAL, _NEUTRAL)


def _side(value: Any) -> int:
    """A size that is one number, or two equal ones."""
    sides = {int(each) for each in (value if isinstance(value, (list, tuple)) else [value])}
    (side,) = sides
    return side


def _no_vit(base: Base, kind: Any) -> ProblemsError:
    return ProblemsError(
        f"teacher {base.name} is a {kind}, which does not keep a state for every patch of a picture; choose {_EXAMPLES}"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
