"""What an adapter file is and says of itself: no base is needed, and no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import ProblemsError
from .headers import HEADER_KEY
from .metadata import told
from .mismatch import WIDTHS, cross_attention_width, variant_problems
from .names import PREFIXES, split_component, split_key

SIZE_LIMIT = 4 * 2**30
PEFT_CONFIG, PEFT_TENSORS = "adapter_config.json", "adapter_model.safetensors"
_CONFIG_LIMIT = 2**20
_PICKLE_NAMES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_COMPONENTS = ("unet", "text_encoder", "text_encoder_2", "text_encoder_3", "transformer", "llm", "vision")
# Too long to be read by a person.
_PICTURES = ("modelspec.thumbnail", "ssmd_cover_images")


def inspect(path: Path) -> dict[str, Any]:
    """What an adapter file or PEFT folder says of itself: plain JSON types. Raises ProblemsError like `opened`."""
    path = Path(path)
    with opened(path, "np") as (file, metadata):
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        dtypes = sorted({file.get_slice(key).get_dtype() for key in shapes if not key.endswith(".alpha")})
    splits = {key: split_key(key) for key in shapes}
    downs = {split[0]: shapes[key] for key, split in splits.items() if split and split[1] == "down"}
    problems, said = variant_problems(shapes, metadata), told(metadata)
    # In a file of ours, what is not LoRA is a parameter that was trained whole.
    others = sorted(key for key, split in splits.items() if split is None)
    whole, others = (others, []) if said["config"] else ([], others)
    components: dict[str, int] = {}
    for stem in (*downs, *whole):
        component = split_component(stem, _COMPONENTS)[0] or "unnamed"
        components[component] = components.get(component, 0) + 1
    return {
        "file": path.name,
        "bytes": tensor_file(path).stat().st_size,
        "form": "diffusers" if whole else _form(shapes, path),
        **said,
        "variant": "other" if problems else "whole" if whole and not downs else said["variant"],
        "problems": problems,
        "modules": len(downs) + len(whole),
        "components": components,
        "ranks": sorted({shape[0] for shape in downs.values() if shape}),
        "parameters": sum(
            _product(shapes[key])
            for key, split in splits.items()
            if key in whole or (split is not None and split[1] != "alpha")
        ),
        "dtypes": dtypes,
        "other_tensors": others,
        "made_for": WIDTHS.get(cross_attention_width(downs) or 0, ""),
        "metadata": {
            key: f"{len(value)} characters" if key in _PICTURES else value
            for key, value in sorted(metadata.items())
            if key != HEADER_KEY
        },
    }


def read_header(path: Path) -> dict[str, str]:
    """The metadata of an adapter file or PEFT folder. Raises ProblemsError like `opened`."""
    with opened(Path(path), "np") as (_, metadata):
        return dict(metadata)


@contextmanager
def opened(path: Path, framework: str = "pt") -> Iterator[tuple[Any, dict[str, str]]]:
    """A safetensors reader and the metadata, after every check that needs no tensor.

    A folder's adapter_config.json becomes the metadata's `lora_adapter_metadata`. Raises ProblemsError for anything
    but a whole safetensors file of at most 4 GiB.
    """
    name, target = path.name, tensor_file(path)
    try:
        with target.open("rb") as raw:
            start = raw.read(9)
        size = target.stat().st_size
    except OSError as error:
        inside = f" ({PEFT_TENSORS} is expected in the folder)" if path.is_dir() else ""
        raise ProblemsError(f"{name} cannot be read: {error.strerror or error}{inside}") from error
    _check_kind(name, target, start, size)
    extra = _peft_header(path) if path.is_dir() else {}
    try:
        with safe_open(target, framework=framework, device="cpu") as file:
            yield file, {**(file.metadata() or {}), **extra}
    except SafetensorError as error:
        raise ProblemsError(
            f"{name} is not a whole safetensors file ({error}); it was cut off or damaged, get it again"
        ) from error


def tensor_file(path: Path) -> Path:
    """The file that holds the tensors: the path itself, or the one inside a PEFT folder."""
    return path / PEFT_TENSORS if path.is_dir() else path


def _form(keys: Mapping[str, Any], path: Path) -> str:
    if path.is_dir():
        return "peft"
    if any(key.startswith(tuple(prefix for prefix in PREFIXES if prefix.startswith("lora_"))) for key in keys):
        return "kohya"
    if any(".lora_A." in key for key in keys):
        return "diffusers" if any(split_component(key, _COMPONENTS)[0] for key in keys) else "peft"
    if any("lora.down" in key or "lora_linear_layer" in key for key in keys):
        return "diffusers (before 2024)"
    return "unknown"


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def _check_kind(name: str, target: Path, start: bytes, size: int) -> None:
    # The length a safetensors file begins with may happen to look like a pickle; the "{" after it does not.
    looks_pickled = start.startswith(_PICKLE_STARTS) and start[8:] != b"{"
    if target.suffix.lower() in _PICKLE_NAMES or looks_pickled:
        raise ProblemsError(
            f"{name} is a pickle file, which can run any program when it is opened; "
            "get the adapter as .safetensors, or convert it with the tool that made it"
        )
    if size == 0:
        raise ProblemsError(f"{name} is empty; get it again")
    if size > SIZE_LIMIT:
        raise ProblemsError(f"{name} has {size / 2**30:.1f} GiB, an adapter may have {SIZE_LIMIT / 2**30:.0f} GiB")


def _peft_header(folder: Path) -> dict[str, str]:
    path = folder / PEFT_CONFIG
    try:
        if path.stat().st_size > _CONFIG_LIMIT:
            raise ProblemsError(f"{folder.name}/{PEFT_CONFIG} has more than 1 MiB; it is no adapter's configuration")
        return {HEADER_KEY: path.read_text(encoding="utf-8")}
    except FileNotFoundError:
        raise ProblemsError(f"{folder.name} has no {PEFT_CONFIG}, so the adapter's scale is unknown") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemsError(f"{folder.name}/{PEFT_CONFIG} cannot be read: {error}") from error
