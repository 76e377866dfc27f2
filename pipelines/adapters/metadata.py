"""The header of an adapter file: ours, and what other programs look for."""

from __future__ import annotations

import base64
import collections
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .headers import header_configs

OUR_KEY = "lora_web"
_HINT, _WEIGHT = "modelspec.usage_hint", "modelspec.lora_default_weight"
# Entries that say nothing of the weights: with other notes it is the same adapter.
NOTES = (OUR_KEY, _HINT, _WEIGHT)
# kind -> modelspec.architecture, ss_base_model_version, ss_v2, as sd-scripts writes them, and A1111's "sd version".
_KINDS = {
    "sd1": ("stable-diffusion-v1", "sd_v1", "False", "SD1"),
    "sd2": ("stable-diffusion-v2-512", "sd_v2", "True", "SD2"),
    "sd2_v": ("stable-diffusion-v2-768-v", "sd_v2_v", "True", "SD2"),
    "sdxl": ("stable-diffusion-xl-v1-base", "sdxl_base_v1-0", "False", "SDXL"),
}
# Only the training scripts themselves write these; others copy the rest of `ss_*` to be recognized.
_BY_SD_SCRIPTS = ("ss_sd_scripts_commit_hash", "ss_training_started_at", "ss_session_id")
_TAGS, _TAG_LENGTH, _TEXT = 200, 100, 400


@dataclass(frozen=True)
class AdapterFacts:
    """What is worth saying about an adapter. `kind` is `sd1`, `sd2`, `sdxl`, or empty for another family; `rank` is
    None when layers differ in rank; `config_json` is empty for an adapter that another program trained."""

    title: str
    kind: str
    rank: int | None
    base_id: str
    base_sha256: str
    config_json: str = ""
    data_fingerprint: str = ""
    captions: tuple[str, ...] = ()
    trigger_words: tuple[str, ...] = ()
    recommended_strength: float | None = None
    v_prediction: bool = False
    resolution: int = 0


@dataclass(frozen=True)
class Remarks:
    """What is said of an adapter after its training, by a person or a measurement: an export lays it over what the
    file says. `thumbnail` is a JPEG file, `date` is ISO 8601; what is empty changes nothing."""

    title: str = ""
    recommended_strength: float | None = None
    thumbnail: bytes = b""
    date: str = ""


def build_metadata(facts: AdapterFacts) -> dict[str, str]:
    """Header entries, the same for the same facts (no date, no host): `lora_web` (JSON, all of it), `modelspec.*` and,
    for Stable Diffusion, the `ss_*` that other programs sort and filter by."""
    config = json.loads(facts.config_json) if facts.config_json else None
    ours = {
        "version": 1,
        "title": facts.title,
        "base": {"id": facts.base_id, "sha256": facts.base_sha256},
        "data": facts.data_fingerprint,
        "trigger_words": list(facts.trigger_words),
        "recommended_strength": facts.recommended_strength,
        **({"config": config} if config is not None else {}),
    }
    found = {
        OUR_KEY: _json(ours),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": facts.title,
    }
    if facts.trigger_words:
        found["modelspec.trigger_phrase"] = ", ".join(facts.trigger_words)
    if facts.resolution:
        found["modelspec.resolution"] = f"{facts.resolution}x{facts.resolution}"
    kind = facts.kind + ("_v" if facts.kind == "sd2" and facts.v_prediction else "")
    if kind in _KINDS:
        found |= _for_picture_tools(facts, kind) | _of_training(config or {}, facts)
    return found


def completed(metadata: Mapping[str, str], facts: AdapterFacts) -> dict[str, str]:
    """The header of a file from anywhere, with what `facts` knows added where the file says nothing."""
    known = {key: value for key, value in metadata.items() if key != OUR_KEY or read_ours(metadata)}
    return {**build_metadata(facts), **known}


def remarked(metadata: Mapping[str, str], remarks: Remarks) -> dict[str, str]:
    """A header with the remarks in it, everywhere a reader looks for them."""
    found, ours = dict(metadata), read_ours(metadata)
    if remarks.title:
        ours["title"] = remarks.title
        found["modelspec.title"] = remarks.title
        found |= {"ss_output_name": remarks.title} if "ss_output_name" in found else {}
    if remarks.recommended_strength is not None:
        ours["recommended_strength"] = remarks.recommended_strength
        found |= _hints(remarks.recommended_strength)
    if remarks.thumbnail:
        picture = base64.b64encode(remarks.thumbnail).decode("ascii")
        found["modelspec.thumbnail"] = f"data:image/jpeg;base64,{picture}"
        found["ssmd_cover_images"] = json.dumps([picture])
    if remarks.date:
        found.setdefault("modelspec.date", remarks.date)
    if ours:
        found[OUR_KEY] = _json(ours)
    return found


def with_recommended(metadata: Mapping[str, str], strength: float | None) -> dict[str, str]:
    """A header with this recommended strength in place of the one it had (None: with none)."""
    ours = read_ours(metadata)
    old = _strength(ours.pop("recommended_strength", None))
    stale = {} if old is None else _hints(old)
    found = {key: value for key, value in metadata.items() if stale.get(key) != value}
    found[OUR_KEY] = _json({**ours, "recommended_strength": strength})
    return remarked(found, Remarks(recommended_strength=strength))


def _hints(strength: float) -> dict[str, str]:
    return {_HINT: f"recommended strength {strength:g}", _WEIGHT: f"{strength:g}"}


def sidecar(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What A1111 and Forge read from the `.json` beside an adapter."""
    said = told(metadata)
    version = metadata.get("ss_base_model_version", "")
    # Its slider ends at 0 and 2, and 0 means that nothing is preferred.
    strength = min(2.0, max(0.0, said["recommended_strength"] or 0.0))
    return {
        "description": said["title"],
        "sd version": next((kind[3] for kind in _KINDS.values() if kind[1] == version), "Unknown"),
        "activation text": ", ".join(said["trigger_words"]),
        "preferred weight": strength,
        "negative text": "",
        "notes": f"base: {said['base']}" if said["base"] else "",
    }


def told(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a header says, whoever wrote it, under the names this project uses. Every value is text or a number of
    reasonable size, or empty: the header may be a stranger's."""
    ours = read_ours(metadata)
    config = ours["config"] if isinstance(ours.get("config"), dict) else None
    base = ours["base"] if isinstance(ours.get("base"), dict) else {"id": ours.get("base")}
    peft = next(iter(header_configs(metadata, []).values()), {})
    variant = config["adapter"].get("variant") if config and isinstance(config.get("adapter"), dict) else None
    own_words = ours.get("trigger_words")
    words = own_words if isinstance(own_words, list) else metadata.get("modelspec.trigger_phrase", "").split(",")
    return {
        "title": _first(ours.get("title"), metadata.get("modelspec.title"), metadata.get("ss_output_name")),
        "base": _first(base.get("id"), metadata.get("ss_sd_model_name"), peft.get("base_model_name_or_path")),
        "base_sha256": _first(base.get("sha256")),
        "variant": _first(variant) or ("rslora" if peft.get("use_rslora") is True else "lora"),
        "trigger_words": [word for word in (_first(word) for word in words[:50]) if word],
        "recommended_strength": _strength(ours.get("recommended_strength"))
        or _strength(metadata.get("modelspec.lora_default_weight")),
        "made_with": _made_with(metadata, config),
        "date": _date(metadata),
        "resolution": _first(metadata.get("modelspec.resolution")),
        "description": _first(metadata.get("modelspec.description")),
        "author": _first(metadata.get("modelspec.author")),
        "license": _first(metadata.get("modelspec.license")),
        "config": config,
    }


def thumbnail(metadata: Mapping[str, str]) -> bytes:
    """The bytes of the picture in a header (no promise that they are one), or nothing."""
    head, _, data = metadata.get("modelspec.thumbnail", "").partition(",")
    if not head.startswith("data:image/") or len(data) > 4 * 2**20:
        return b""
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        return b""


def read_ours(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The content of our own header key; empty when the file is not ours or the key is damaged."""
    try:
        values = json.loads(metadata.get(OUR_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _for_picture_tools(facts: AdapterFacts, kind: str) -> dict[str, str]:
    architecture, version, v2, _ = _KINDS[kind]
    found = {
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "v" if facts.v_prediction else "epsilon",
        "ss_base_model_version": version,
        "ss_v2": v2,
        "ss_network_module": "networks.lora",
        "ss_output_name": facts.title,
        "ss_sd_model_name": facts.base_id,
    }
    if facts.rank is not None:
        # The tensors carry their scale, so the alpha they mean is the rank.
        found |= {"ss_network_dim": str(facts.rank), "ss_network_alpha": str(float(facts.rank))}
    tags = tag_counts(facts.captions, facts.trigger_words)
    if tags:
        # Readers suggest the words of this table as prompts.
        found["ss_tag_frequency"] = json.dumps({"dataset": tags}, ensure_ascii=False)
        found["modelspec.tags"] = ", ".join(list(tags)[:20])
    return found


def _of_training(config: Mapping[str, Any], facts: AdapterFacts) -> dict[str, str]:
    """How it was trained, as sd-scripts says it."""
    train = config.get("train") or {}
    names = {
        "steps": "ss_max_train_steps",
        "learning_rate": "ss_learning_rate",
        "schedule": "ss_lr_scheduler",
        "warmup": "ss_lr_warmup_steps",
        "batch_size": "ss_total_batch_size",
        "accumulation": "ss_gradient_accumulation_steps",
        "seed": "ss_seed",
        "precision": "ss_mixed_precision",
    }
    found = {theirs: str(train[name]) for name, theirs in names.items() if name in train}
    if facts.captions:
        found["ss_num_train_images"] = str(len(facts.captions))
        found["ss_dataset_dirs"] = json.dumps({"dataset": {"n_repeats": 1, "img_count": len(facts.captions)}})
    if facts.resolution:
        found["ss_resolution"] = f"({facts.resolution}, {facts.resolution})"
    return found


def tag_counts(captions: Iterable[str], trigger_words: Iterable[str] = ()) -> dict[str, int]:
    """In how many captions each comma-separated part occurs, trigger words first, then the most frequent."""
    counts: collections.Counter[str] = collections.Counter()
    for caption in captions:
        counts.update({tag for part in caption.split(",") if 0 < len(tag := part.strip()) <= _TAG_LENGTH})
    first = [word for word in trigger_words if word]
    rest = sorted((tag for tag in counts if tag not in first), key=lambda tag: (-counts[tag], tag))
    return {tag: counts.get(tag, 0) or 1 for tag in [*first, *rest][:_TAGS]}


def _made_with(metadata: Mapping[str, str], config: Any) -> str:
    if config is not None:
        return "LoRA Web"
    if any(key in metadata for key in _BY_SD_SCRIPTS):
        return "sd-scripts (kohya)"
    if any(key.startswith("ot_") for key in metadata):
        return "OneTrainer"
    try:
        software = json.loads(metadata.get("software", "{}"))
    except (ValueError, RecursionError):
        software = {}
    if isinstance(software, dict) and software.get("name"):
        return _first(software["name"])
    return "diffusers, PEFT" if header_configs(metadata, []) else ""


def _date(metadata: Mapping[str, str]) -> str:
    if metadata.get("modelspec.date"):
        return _first(metadata["modelspec.date"])
    try:
        when = datetime.fromtimestamp(float(metadata.get("ss_training_finished_at", "")), timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ""
    return when.isoformat(timespec="seconds")


def _strength(value: Any) -> float | None:
    """A strength a person could have meant, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and -4 <= number <= 4 and not isinstance(value, bool) else None


def _first(*values: Any) -> str:
    """The first value that is text, as one line of at most 400 characters."""
    texts = (" ".join(value.split()) for value in values if isinstance(value, str))
    return next((text[:_TEXT] for text in texts if text), "")


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True)
