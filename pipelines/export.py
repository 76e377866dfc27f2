"""Exporting an adapter in a form other tools read, proved by reading it back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import registry
from .adapters.attach import attach_weights, match, shapes
from .adapters.file import Proof, prove, read_adapter, read_tensors, write_adapter, write_peft
from .adapters.metadata import read_ours
from .bases import find_base
from .config import RunConfig
from .devices import pick_device
from .errors import ProblemsError

FORMS = ("diffusers", "kohya", "peft", "merged")


def adapter_path(source: Path) -> Path:
    """The adapter file of a run folder, or the file itself. Raises ProblemsError when there is none."""
    if source.is_file():
        return source
    path = source / "adapter" / "adapter.safetensors"
    if not path.exists():
        raise ProblemsError(
            f"{source} holds no adapter yet (expected adapter/adapter.safetensors); train or resume the run first"
        )
    return path


def run_config(source: Path, base: str = "") -> RunConfig:
    """The config of a run folder, or the one an adapter file of ours carries; with `base`, on that base instead.

    Raises ProblemsError for a file from another tool, which does not name its base, unless `base` does.
    """
    if (source / "run.json").is_file():
        # A file only has the last part of a base's path; the run folder has all of it.
        config = RunConfig.load(source / "run.json")
        return replace(config, base=base) if base else config
    path = adapter_path(source)
    _, metadata = read_tensors(path)
    ours = read_ours(metadata)
    if "config" not in ours and base:
        return RunConfig(base=base)
    if "config" not in ours:
        raise ProblemsError(f"{path.name} was made by another tool and does not say its base; name it with --base")
    config = RunConfig.from_dict(ours["config"])
    if base:
        return replace(config, base=base)
    try:
        find_base(config.base)
    except ProblemsError as error:
        raise ProblemsError(
            f"{path.name} was trained on the base {config.base}, which is not found here; name it with --base"
        ) from error
    return config


def export(source: Path, form: str, output: Path, *, base: str = "", strength: float = 1.0) -> Proof:
    """Write the adapter of a run (or file): `diffusers` and `kohya` are one file, `peft` is a folder for an adapter of
    one component, `merged` is a whole base with the adapter in it.

    `strength` counts for `merged` only. Returns what reading the result back showed; raises ProblemsError when the
    form cannot hold the adapter or the proof fails.
    """
    import torch

    if form not in FORMS:
        raise ProblemsError(f"format is {form!r}, must be one of {', '.join(FORMS)}")
    if form in ("peft", "merged") and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ProblemsError(f"output {output} is not empty; name a new folder")
    path = adapter_path(source)
    config = run_config(source, base)
    family = registry.create(config.family, config.options)
    found = find_base(config.base)
    # Shapes are all that a file needs; weights only matter when they are merged into.
    on_meta = form != "merged" and found.path is not None and found.path.is_dir()
    parts = family.load(found, torch.device("meta") if on_meta else pick_device("cpu"), torch.float32)
    modules = shapes(parts.model)
    layers = read_adapter(path, modules)
    if form == "merged":
        return _merge(parts, layers, match(layers, family.groups(parts)), output, strength)
    _, metadata = read_tensors(path)
    if form == "peft":
        write_peft(output, layers, base_id=config.base)
    else:
        write_adapter(output, layers, form=form, metadata=metadata)
    proof = prove(output, layers, modules)
    if proof.unmatched or proof.modules != len(layers):
        shutil.rmtree(output) if output.is_dir() else output.unlink()
        raise ProblemsError(
            f"{output.name}: reading it back found {proof.modules} of {len(layers)} layers; nothing was exported"
        )
    return proof


def _merge(parts: Any, layers: Any, groups: dict[str, str], output: Path, strength: float) -> Proof:
    """Add strength * delta to a copy of the base's weights and save the whole base."""
    import torch

    attached = attach_weights(parts.model, layers, groups, "merged")
    originals = {path: layer.get_base_layer() for path, layer in attached.layers.items()}
    error = largest = 0.0
    for path in attached.layers:
        weight = originals[path].weight
        delta = strength * layers[path].delta().double().view_as(weight)
        merged = weight.double() + delta
        largest = max(largest, float(delta.abs().max()))
        with torch.no_grad():
            weight.copy_(merged)
        error = max(error, float((weight.double() - merged).abs().max()))
        component, _, name = path.partition(".")
        parent, _, leaf = name.rpartition(".")
        setattr(parts.model[component].get_submodule(parent), leaf, originals[path])
    for root in parts.model.values():
        if hasattr(root, "peft_config"):
            del root.peft_config
    parts.rest["pipeline"].save_pretrained(output, safe_serialization=True)
    return Proof(max_error=error, max_delta=largest, modules=len(layers), unmatched=0)
