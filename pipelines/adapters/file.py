"""Adapter files: written whole or not at all, read without trusting them, and proved before they are offered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..errors import ProblemsError
from ..files import write_bytes, write_text
from .contents import PEFT_CONFIG, PEFT_TENSORS, opened
from .formats import match_layers, to_diffusers, to_kohya, to_peft
from .headers import HEADER_KEY
from .lowrank import Layers, LowRank, Whole, low_rank
from .mismatch import WIDTHS, XL, cross_attention_width

FORMS = ("diffusers", "kohya")


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


def write_peft(
    folder: Path,
    layers: Layers,
    *,
    base_id: str,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
    task: str = "",
) -> None:
    """Write a PEFT folder (adapter_config.json and adapter_model.safetensors) for an adapter of one component; `task`
    is PEFT's word for what the model does, where it has one."""
    _check_worth_writing(layers, dtype)
    config, tensors = to_peft(layers, dtype)
    _check_finite(tensors, dtype)
    folder = Path(folder)
    write_bytes(folder / PEFT_TENSORS, serialize(tensors, _restated(metadata or {}, layers)))
    config["base_model_name_or_path"] = base_id
    config |= {"task_type": task} if task else {}
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
    with opened(Path(path)) as (file, metadata):
        return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118


def read_adapter(
    path: Path, modules: Mapping[str, tuple[int, ...]], whole: Mapping[str, tuple[int, ...]] | None = None
) -> Layers:
    """The layers of a file or PEFT folder for a base whose adaptable layers have the weight shapes `modules`, and the
    parameters that may be trained whole the shapes `whole`.

    Raises ProblemsError with everything that does not fit, each sentence beginning with the file's name.
    """
    tensors, metadata = read_tensors(path)
    found = match_layers(tensors, modules, metadata, whole)
    if found.problems:
        raise ProblemsError(f"{Path(path).name}: {problem}" for problem in found.problems)
    return found.layers


def prove(
    path: Path,
    layers: Layers,
    modules: Mapping[str, tuple[int, ...]],
    whole: Mapping[str, tuple[int, ...]] | None = None,
) -> Proof:
    """Re-read a written file and compare every module's delta W (of a parameter trained whole: its value) with what was
    meant to be written."""
    tensors, metadata = read_tensors(path)
    found = match_layers(tensors, modules, metadata, whole)
    error = largest = 0.0
    for module in found.layers.keys() & layers.keys():
        meant = _compared(layers[module])
        error = max(error, float((_compared(found.layers[module]) - meant).abs().max()))
        largest = max(largest, float(meant.abs().max()))
    strangers = len(found.layers.keys() ^ layers.keys())
    return Proof(error, len(found.layers), max(found.unmatched, strangers), largest)


def _compared(layer: LowRank | Whole) -> torch.Tensor:
    return layer.value.float() if isinstance(layer, Whole) else layer.delta()


def _is_xl(layers: Layers, metadata: Mapping[str, str]) -> bool:
    width = cross_attention_width({name: tuple(layer.down.shape) for name, layer in low_rank(layers).items()})
    return (
        metadata.get("ss_base_model_version", "").startswith("sdxl")
        or any(module.startswith("text_encoder_2.") for module in layers)
        or WIDTHS.get(width or 0) == XL
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
    if not problems and all(layer.idle() for layer in layers.values()):
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
