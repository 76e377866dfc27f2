"""Exporting an adapter in a form other tools read, proved by reading it back."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from dataclasses import replace
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path

from .adapters.attach import attach_weights
from .adapters.contents import PEFT_CONFIG, read_header, tensor_file
from .adapters.file import Proof, prove, write_adapter, write_peft
from .adapters.lowrank import Whole
from .adapters.metadata import Remarks, completed, read_ours, remarked, sidecar, thumbnail, told
from .adapters.strength import OnMarked
from .bases import find_base
from .config import RunConfig
from .data.pictures import open_picture
from .errors import ProblemsError
from .facts import seen_facts
from .files import write_bytes, write_text
from .fit import Fit, fit
from .registry import family_class, reading

FORMS = ("diffusers", "kohya", "peft", "a1111", "merged")
FOLDERS = ("peft", "a1111", "merged")


def adapter_path(source: Path) -> Path:
    """The adapter file of a run folder, or the file or PEFT folder itself. Raises ProblemsError when there is none."""
    if source.is_file() or (source / PEFT_CONFIG).is_file():
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
    ours = read_ours(read_header(path))
    if "config" not in ours and base:
        return RunConfig(family=reading(find_base(base))[0], base=base)
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


def export(
    source: Path,
    form: str,
    output: Path,
    *,
    base: str = "",
    strength: float | OnMarked = 1.0,
    remarks: Remarks | None = None,
) -> Proof:
    """Write the adapter of a run (or file): `diffusers` and `kohya` are one file, `peft` is a folder for an adapter of
    one component, `a1111` a folder with the kohya file, its .json and its preview picture, `merged` is a whole base
    with the adapter in it.

    Without a `form` it is the usual one of the family. `strength` counts for `merged` only; `remarks` go into the
    header. Returns what reading the result back showed; raises ProblemsError when the form cannot hold the adapter or
    the proof fails; then nothing is left at `output`.
    """
    if form and form not in FORMS:
        raise ProblemsError(f"format is {form!r}, must be one of {', '.join(FORMS)}")
    path = adapter_path(source)
    config = run_config(source, base)
    family = family_class(config.family)
    form = form or family.forms[0]
    if form not in family.forms:
        raise ProblemsError(f"format is {form}, must be {' or '.join(family.forms)} for an adapter of this family")
    if form in FOLDERS and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ProblemsError(f"output {output} is not empty; name a new folder")
    baked = 1.0 if form != "merged" else _mergeable(strength)
    found = fit(path, config, weights=form == "merged")
    if form == "merged":
        return _merge(found, output, baked)
    return _written(path, found, form, output, (config.base, remarks or Remarks()))


def keep(folder: Path, config: RunConfig, output: Path) -> Proof:
    """Write a PEFT folder from elsewhere as one file, as runs keep their adapters, whatever forms their family has."""
    return _written(folder, fit(folder, config), "diffusers", output, (config.base, Remarks()))


def _written(path: Path, found: Fit, form: str, output: Path, about: tuple[str, Remarks]) -> Proof:
    """Write one form that is not `merged`; `about` are the name of its base and what a person said of it."""
    base, remarks = about
    header = read_header(path)
    said = told(header)
    if said["config"] and not remarks.date:
        # When a file of another program was made is not known from when it came here.
        written = datetime.fromtimestamp(tensor_file(path).stat().st_mtime, timezone.utc)
        remarks = replace(remarks, date=written.isoformat(timespec="seconds"))
    metadata = remarked(completed(header, seen_facts(said, found, base)), remarks)
    try:
        proof = _write(found, form, output, metadata)
    except (ProblemsError, OSError):
        if form in FOLDERS:
            shutil.rmtree(output, ignore_errors=True)
        raise
    if proof.unmatched or proof.modules != len(found.layers):
        shutil.rmtree(output) if output.is_dir() else output.unlink()
        raise ProblemsError(
            f"{output.name}: reading it back found {proof.modules} of {len(found.layers)} layers; nothing was exported"
        )
    return proof


def _mergeable(strength: float | OnMarked) -> float:
    """Raises ProblemsError for a strength that no weights could have."""
    if isinstance(strength, OnMarked):
        raise ProblemsError(
            "a strength on image tokens only cannot be merged, as weights do not know which token they meet; merge at "
            "a strength on all tokens, or export the adapter itself"
        )
    return strength


def _write(found: Fit, form: str, output: Path, metadata: dict[str, str]) -> Proof:
    """Write one form that is not `merged`, and read it back."""
    written = output
    if form == "peft":
        task = found.parts.rest.get("task", "")
        write_peft(output, found.layers, base_id=told(metadata)["base"], metadata=metadata, task=task)
    elif form == "a1111":
        name = file_stem(told(metadata)["title"])
        written = output / f"{name}.safetensors"
        write_adapter(written, found.layers, form="kohya", metadata=metadata)
        write_text(output / f"{name}.json", json.dumps(sidecar(metadata), indent=2, ensure_ascii=False) + "\n")
        # A stranger's header may hold anything in place of a picture; the adapter is none the worse for it.
        with contextlib.suppress(ProblemsError):
            write_bytes(output / f"{name}.png", _as_png(thumbnail(metadata)))
    else:
        write_adapter(output, found.layers, form=form, metadata=metadata)
    return prove(written, found.layers, found.modules, found.whole)


def file_stem(title: str) -> str:
    """A title as the beginning of a file name: letters and digits of any script, `-` between them."""
    return re.sub(r"[^\w]+", "-", title).strip("-_")[:60] or "adapter"


def _as_png(picture: bytes) -> bytes:
    opened, buffer = open_picture(picture, "the adapter's picture"), BytesIO()
    opened.save(buffer, "PNG")
    return buffer.getvalue()


def _merge(found: Fit, output: Path, strength: float) -> Proof:
    """Add strength * delta to a copy of the base's weights and save the whole base."""
    import torch

    parts, layers, groups = found.parts, found.layers, found.groups
    attached = attach_weights(parts.model, layers, groups, "merged")
    originals = {path: layer.get_base_layer() for path, layer in attached.layers.items()}
    error = largest = 0.0
    for path, layer in layers.items():
        weight = attached.whole[path] if isinstance(layer, Whole) else originals[path].weight
        full = layer.value.double() - weight.double() if isinstance(layer, Whole) else layer.delta().double()
        delta = strength * full.view_as(weight)
        merged = weight.double() + delta
        largest = max(largest, float(delta.abs().max()))
        with torch.no_grad():
            weight.copy_(merged)
        error = max(error, float((weight.double() - merged).abs().max()))
    for path in attached.layers:
        component, _, name = path.partition(".")
        parent, _, leaf = name.rpartition(".")
        setattr(parts.model[component].get_submodule(parent), leaf, originals[path])
    for root in parts.model.values():
        if hasattr(root, "peft_config"):
            del root.peft_config
    parts.rest["pipeline"].save_pretrained(output, safe_serialization=True)
    return Proof(max_error=error, max_delta=largest, modules=len(layers), unmatched=0)
