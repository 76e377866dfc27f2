"""What a finished adapter says about itself: the run's facts, in the words of the adapter file."""

from __future__ import annotations

import json
from pathlib import Path

from .adapters.metadata import AdapterFacts, build_metadata
from .bases import Base
from .config import RunConfig
from .family import Parts


def adapter_metadata(config: RunConfig, base: Base, parts: Parts, fingerprint: str) -> dict[str, str]:
    """The header of a run's adapter file."""
    values = config.to_dict()
    # A file that is given away must not tell where its maker keeps things.
    values["data"]["path"] = Path(config.data.path).name
    if Path(config.base).is_absolute():
        values["base"] = Path(config.base).name
    trigger = config.data.trigger_word.strip()
    noise = parts.rest.get("noise")
    return build_metadata(
        AdapterFacts(
            title=trigger or Path(config.data.path).stem or "adapter",
            kind=parts.rest.get("kind", ""),
            rank=config.adapter.rank,
            base_id=values["base"],
            base_sha256=base.fingerprint,
            config_json=json.dumps(values),
            data_fingerprint=fingerprint,
            trigger_words=(trigger,) if trigger else (),
            v_prediction=noise is not None and noise.config.prediction_type == "v_prediction",
            resolution=config.data.resolution,
        )
    )
