"""Adapter files: written whole or not at all, read without trusting them, and proved before they are offered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ProblemsError
from ..files import write_bytes, write_text
from .formats import match_layers, split_key, to_diffusers, to_kohya, to_peft
from .headers import HEADER_KEY
from .lowrank import Layers
from .metadata import read_ours
from .mismatch import WIDTHS, XL, cross_attention_width, variant_problems
from .names import PREFIXES, split_component

FORMS = ("diffusers", "kohya")
SIZE_LIMIT = 4 * 2**30
PEFT_CONFIG, PEFT_TENSORS = "adapter_config.json", "adapter_model.safetensors"
_CONFIG_LIMIT = 2**20
_PICKLE_NAMES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_COMPONENTS = ("unet", "text_encoder", "text_encoder_2", "text_encoder_3", "transformer")


@dataclass(frozen=True)
class Proof:
    """What re-reading a written file showed: over its `modules`, the largest difference of any element of delta W
    (`max_error`), how many modules had no counterpart, and the largest element itself (`max_delta`)."""

    max_error: float
    modules: int
    unmatched: int
    max_delta: float = 0.0


def write_adapter(
    path: Path, layers: Layers, *, form: str, metadata: Mapping[str, str], dtype: torch.dtype = torch.float32
) -> None:
    """Write one safetensors file in `form` (`diffusers` or `kohya`); the same layers and metadata give the same bytes.

    The file is XL when its metadata or its layers say so. Raises ProblemsError for an
    adapter with NaN or infinite numbers, one that does nothing, one the form cannot hold, and a full disk; a file
    already at `path` stays as it was.
    """
    _check_worth_writing(layers, dtype)
    if form not in FORMS:
        raise ProblemsError(f"the form of an adapter file is {form!r}, must be one of {', '.join(FORMS)}")
    tensors = to_kohya(layers, dtype, _is_xl(layers, metadata)) if form == "kohya" else to_diffusers(layers, dtype)
    _check_finite(tensors, dtype)
    write_bytes(Path(path), serialize(tensors, _restated(metadata, layers)))


def write_peft(folder: Path, layers: Layers, *, base_id: str, dtype: torch.dtype = torch.float32) -> None:
    """Write a PEFT folder (adapter_config.json and adapter_model.safetensors) for an adapter of one component."""
    _check_worth_writing(layers, dtype)
    config, tensors = to_peft(layers, dtype)
    _check_finite(tensors, dtype)
    folder = Path(folder)
    write_bytes(folder / PEFT_TENSORS, serialize(tensors, {}))
    config["base_model_name_or_path"] = base_id
    write_text(folder / PEFT_CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def serialize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, with `format` and the `sshs_model_hash` of sd-scripts (SHA-256 of the data
    section) added to the metadata."""
    raw = safetensors.torch.save(dict(tensors))
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    data = memoryview(raw)[end:]
    entries = {**metadata, "format": "pt", "sshs_model_hash": hashlib.sha256(data).hexdigest()}
    # The library writes metadata in an order that changes from process to process; equal adapters must be equal bytes.
    header["__metadata__"] = {key: entries[key] for key in sorted(entries)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, data))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of an adapter file or PEFT folder, on the CPU.

    A folder's adapter_config.json becomes the metadata's `lora_adapter_metadata`. Raises ProblemsError for anything
    but a whole safetensors file of at most 4 GiB.
    """
    with _opened(Path(path)) as (file, metadata):
        return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118


def read_adapter(path: Path, modules: Mapping[str, tuple[int, ...]]) -> Layers:
    """The layers of a file or PEFT folder for a base whose adaptable layers have the weight shapes `modules`.

    Raises ProblemsError with everything that does not fit, each sentence beginning with the file's name.
    """
    tensors, metadata = read_tensors(path)
    found = match_layers(tensors, modules, metadata)
    if found.problems:
        raise ProblemsError(f"{Path(path).name}: {problem}" for problem in found.problems)
    return found.layers


def prove(path: Path, layers: Layers, modules: Mapping[str, tuple[int, ...]]) -> Proof:
    """Re-read a written file and compare every module's delta W with what was meant to be written."""
    tensors, metadata = read_tensors(path)
    found = match_layers(tensors, modules, metadata)
    error = largest = 0.0
    for module in found.layers.keys() & layers.keys():
        meant = layers[module].delta()
        error = max(error, float((found.layers[module].delta() - meant).abs().max()))
        largest = max(largest, float(meant.abs().max()))
    strangers = len(found.layers.keys() ^ layers.keys())
    return Proof(error, len(found.layers), max(found.unmatched, strangers), largest)


def inspect(path: Path) -> dict[str, Any]:
    """What an adapter file says of itself, without a base: plain JSON types."""
    path = Path(path)
    with _opened(path) as (file, metadata):
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        dtypes = sorted({file.get_slice(key).get_dtype() for key in shapes if not key.endswith(".alpha")})
    splits = {key: split_key(key) for key in shapes}
    downs = {split[0]: shapes[key] for key, split in splits.items() if split and split[1] == "down"}
    components: dict[str, int] = {}
    for stem in downs:
        component = split_component(stem, _COMPONENTS)[0] or "unnamed"
        components[component] = components.get(component, 0) + 1
    width = cross_attention_width(downs)
    ours = read_ours(metadata)
    return {
        "file": path.name,
        "bytes": _tensor_file(path).stat().st_size,
        "form": _form(shapes, path),
        "variant": "other" if variant_problems(shapes, metadata) else "lora",
        "problems": variant_problems(shapes, metadata),
        "modules": len(downs),
        "components": components,
        "ranks": sorted({shape[0] for shape in downs.values() if shape}),
        "parameters": sum(_product(shapes[key]) for key, split in splits.items() if split and split[1] != "alpha"),
        "dtypes": dtypes,
        "other_tensors": sorted(key for key, split in splits.items() if split is None),
        "made_for": WIDTHS.get(width or 0, ""),
        "title": str(ours.get("title") or metadata.get("modelspec.title") or metadata.get("ss_output_name") or ""),
        "trigger_words": ours.get("trigger_words") or _words(metadata.get("modelspec.trigger_phrase", "")),
        "recommended_strength": ours.get("recommended_strength"),
        "base": ours.get("base") or metadata.get("ss_sd_model_name") or "",
        "config": ours.get("config"),
        "metadata": {key: metadata[key] for key in sorted(metadata) if not key.startswith("lora_")},
    }


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


def _words(phrase: str) -> list[str]:
    return [word.strip() for word in phrase.split(",") if word.strip()]


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def _is_xl(layers: Layers, metadata: Mapping[str, str]) -> bool:
    return (
        metadata.get("ss_base_model_version", "").startswith("sdxl")
        or any(module.startswith("text_encoder_2.") for module in layers)
        or WIDTHS.get(cross_attention_width({m: tuple(each.down.shape) for m, each in layers.items()}) or 0) == XL
    )


def _restated(metadata: Mapping[str, str], layers: Layers) -> dict[str, str]:
    """The metadata without what another file said of its scale: the tensors carry theirs now, and a reader that applied
    an old alpha on top would apply it twice."""
    stale = ("ss_network_dim", "ss_network_alpha", "ss_network_args", "sshs_legacy_hash", "modelspec.hash_sha256")
    found = {key: value for key, value in metadata.items() if key not in (HEADER_KEY, *stale)}
    ranks = {layer.rank for layer in layers.values()}
    if "ss_network_dim" in metadata and len(ranks) == 1:
        rank = ranks.pop()
        found |= {"ss_network_dim": str(rank), "ss_network_alpha": str(float(rank))}
    return found


def _check_worth_writing(layers: Layers, dtype: torch.dtype) -> None:
    problems = [
        f"{module}: the adapter holds NaN or infinite numbers and was not saved; go back to an earlier checkpoint "
        "and train on with a lower learning rate"
        for module, layer in layers.items()
        if not layer.finite()
    ]
    if not problems and not any(layer.scale and bool(layer.up.any()) for layer in layers.values()):
        problems.append(
            "the adapter changes nothing (every up matrix is zero) and was not saved; train it for at least one step"
        )
    if not dtype.is_floating_point:
        problems.append(f"the number format of an adapter file is {dtype}, must be a floating point one")
    if problems:
        raise ProblemsError(problems)


def _check_finite(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Large numbers turn infinite when they are stored in fewer bits."""
    problems = [
        f"{key}: too large for {str(dtype).removeprefix('torch.')}, the adapter was not saved; save it in float32"
        for key, tensor in tensors.items()
        if not torch.isfinite(tensor).all()
    ]
    if problems:
        raise ProblemsError(problems)


def _tensor_file(path: Path) -> Path:
    return path / PEFT_TENSORS if path.is_dir() else path


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """A safetensors reader and the metadata, after every check that needs no tensor."""
    name, target = path.name, _tensor_file(path)
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
        with safe_open(target, framework="pt", device="cpu") as file:
            yield file, {**(file.metadata() or {}), **extra}
    except SafetensorError as error:
        raise ProblemsError(
            f"{name} is not a whole safetensors file ({error}); it was cut off or damaged, get it again"
        ) from error


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
