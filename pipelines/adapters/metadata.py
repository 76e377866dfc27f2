"""The header of an adapter file: ours, and what other programs look for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OUR_KEY = "lora_web"
# kind -> modelspec.architecture, ss_base_model_version, ss_v2, as sd-scripts writes them.
_KINDS = {
    "sd1": ("stable-diffusion-v1", "sd_v1", "False"),
    "sd2": ("stable-diffusion-v2-512", "sd_v2", "True"),
    "sd2_v": ("stable-diffusion-v2-768-v", "sd_v2_v", "True"),
    "sdxl": ("stable-diffusion-xl-v1-base", "sdxl_base_v1-0", "False"),
}


@dataclass(frozen=True)
class AdapterFacts:
    """What is worth saying about an adapter. `kind` is `sd1`, `sd2`, `sdxl`, or empty for another family; `rank` is
    None when layers differ in rank."""

    title: str
    kind: str
    rank: int | None
    base_id: str
    base_sha256: str
    config_json: str = "{}"
    data_fingerprint: str = ""
    trigger_words: tuple[str, ...] = ()
    recommended_strength: float | None = None
    v_prediction: bool = False
    resolution: int = 0


def build_metadata(facts: AdapterFacts) -> dict[str, str]:
    """Header entries, the same for the same facts (no date, no host): `lora_web` (JSON, all of it), `modelspec.*` and,
    for Stable Diffusion, the `ss_*` that other programs sort and filter by."""
    ours = {
        "version": 1,
        "title": facts.title,
        "base": {"id": facts.base_id, "sha256": facts.base_sha256},
        "data": facts.data_fingerprint,
        "trigger_words": list(facts.trigger_words),
        "recommended_strength": facts.recommended_strength,
        "config": json.loads(facts.config_json),
    }
    found = {
        OUR_KEY: json.dumps(ours, ensure_ascii=False, sort_keys=True),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": facts.title,
    }
    if facts.trigger_words:
        found["modelspec.trigger_phrase"] = ", ".join(facts.trigger_words)
    if facts.resolution:
        found["modelspec.resolution"] = f"{facts.resolution}x{facts.resolution}"
    kind = facts.kind + ("_v" if facts.kind == "sd2" and facts.v_prediction else "")
    if kind in _KINDS:
        found |= _for_picture_tools(facts, kind)
    return found


def _for_picture_tools(facts: AdapterFacts, kind: str) -> dict[str, str]:
    architecture, version, v2 = _KINDS[kind]
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
    if facts.trigger_words:
        # Readers suggest the words of this table as triggers.
        found["ss_tag_frequency"] = json.dumps({"dataset": dict.fromkeys(facts.trigger_words, 1)}, ensure_ascii=False)
    return found


def read_ours(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The content of our own header key; empty when the file is not ours or the key is damaged."""
    try:
        values = json.loads(metadata.get(OUR_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
