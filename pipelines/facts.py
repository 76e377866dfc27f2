"""What a finished adapter says about itself: the run's facts, in the words of the adapter file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .adapters.metadata import AdapterFacts, build_metadata
from .bases import Base, find_base
from .config import RunConfig
from .data.encode import Encoded
from .family import Parts
from .fit import Fit
from .registry import family_class


def adapter_metadata(config: RunConfig, base: Base, parts: Parts, data: Encoded) -> dict[str, str]:
    """The header of a run's adapter file."""
    values = config.to_dict()
    values["data"]["path"] = Path(config.data.path).name
    values["base"] = public_name(config.base)
    trigger = config.data.trigger_word.strip()
    return build_metadata(
        AdapterFacts(
            title=trigger or Path(config.data.path).stem or "adapter",
            kind=parts.rest.get("kind", ""),
            rank=config.adapter.rank,
            base_id=values["base"],
            base_sha256=base.fingerprint,
            config_json=json.dumps(values),
            data_fingerprint=data.fingerprint,
            captions=tuple(sample.caption for sample in data.train),
            trigger_words=(trigger,) if trigger else (),
            v_prediction=predicts_velocity(parts),
            resolution=0 if family_class(config.family).answers else config.data.resolution,
        )
    )


def seen_facts(said: dict[str, Any], fit: Fit, base: str) -> AdapterFacts:
    """What an adapter from anywhere shows on its base, with what its header said (`told`)."""
    return AdapterFacts(
        title=said["title"] or "adapter",
        kind=fit.parts.rest.get("kind", ""),
        rank=fit.rank,
        base_id=public_name(base),
        base_sha256=find_base(base).fingerprint,
        trigger_words=tuple(said["trigger_words"]),
        recommended_strength=said["recommended_strength"],
        v_prediction=predicts_velocity(fit.parts),
    )


def public_name(base: str) -> str:
    """What a file that is given away calls a base: not where its maker keeps it."""
    return Path(base).name if Path(base).expanduser().is_absolute() else base


def predicts_velocity(parts: Parts) -> bool:
    """Whether the base predicts v in place of noise."""
    noise = parts.rest.get("noise")
    return noise is not None and noise.config.prediction_type == "v_prediction"
