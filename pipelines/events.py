"""What happens in a run. `train` yields these; the worker appends them to events.jsonl; the page reads that file."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened at `time` (seconds since 1970)."""

    time: float = field(default_factory=time.time, kw_only=True)

    def to_json(self) -> str:
        """One line of events.jsonl."""
        return json.dumps({"event": type(self).__name__, **dataclasses.asdict(self)}, ensure_ascii=False)


@dataclass(frozen=True)
class Prepared(Event):
    """Samples are read and encoded, the adapter is attached; training starts at `step` of `steps`."""

    samples: int
    validation_samples: int
    rejected: tuple[str, ...]
    notes: tuple[str, ...]
    trainable_parameters: int
    step: int
    steps: int
    device: str
    precision: str
    # What encoding the samples took; almost nothing when they were in the cache.
    encode_seconds: float = 0.0


@dataclass(frozen=True)
class Step(Event):
    """One optimizer step is done. `seconds` is its duration, `memory` the peak memory so far in bytes; `figures` are
    what the family noted of the loss."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    memory: int
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Validated(Event):
    """Loss on held-out samples, at noise that is the same each time. `perplexity` is there where the loss is that of
    words: among so many the model is as uncertain as if all were equally likely."""

    step: int
    loss: float
    perplexity: float | None = None


@dataclass(frozen=True)
class Previewed(Event):
    """Previews of a prompt at a fixed seed were written: pictures, or answers as text (paths relative to the run
    folder)."""

    step: int
    paths: tuple[str, ...]
    prompt: str = ""


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint was written (path relative to the run folder)."""

    step: int
    path: str


@dataclass(frozen=True)
class Finished(Event):
    """All steps are done; the adapter is at `path` (relative to the run folder)."""

    step: int
    path: str
    seconds: float


@dataclass(frozen=True)
class Stopped(Event):
    """A person stopped the run; the adapter of the steps so far is at `path`."""

    step: int
    path: str


@dataclass(frozen=True)
class Failed(Event):
    """The run ended early. `problems` are sentences; `path` is the last good adapter, or empty."""

    step: int
    problems: tuple[str, ...]
    path: str = ""


KINDS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Prepared, Step, Validated, Previewed, Saved, Finished, Stopped, Failed)
}


def from_json(line: str) -> Event:
    """The inverse of `Event.to_json`; raises ValueError on a line that is not an event."""
    try:
        values: dict[str, Any] = dict(json.loads(line))
        kind: Callable[..., Event] = KINDS[values.pop("event")]
        return kind(**{key: tuple(item) if isinstance(item, list) else item for key, item in values.items()})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not an event: {line[:80]}") from error
