"""A run as the page shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.events import Previewed

from . import folders
from .journal import Journal
from .store import Row
from .text import say

ACTIVE = ("queued", "running")
RESUMABLE = ("interrupted", "stopped", "failed")
ENDED_BADLY = ("interrupted", "failed")


@dataclass(frozen=True)
class Record:
    """One line of a visitor's history; `adapter` is the file it left, if it did."""

    run: Path
    row: Row
    adapter: Path | None
    ahead: int = 0


@dataclass(frozen=True)
class Status:
    """A run while it is watched. `state` is queued, running, finished, stopped, failed or interrupted."""

    state: str
    title: str = ""
    stopping: bool = False
    sampling: bool = False
    # Whether it was ever launched: a run that left the line before has nothing to keep.
    began: bool = True
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    speed: float | None = None
    memory: int = 0
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    validations: dict[int, float] = field(default_factory=dict)
    perplexities: dict[int, float] = field(default_factory=dict)
    # Of each block of a model that learns from a teacher: how far it was from it, at (step, distance).
    blocks: list[list[tuple[int, float]]] = field(default_factory=list)
    overfit: tuple[int, float] | None = None
    previews: dict[int, Previewed] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    log_tail: str = ""
    adapter: Path | None = None
    ahead: int = 0
    duration: float | None = None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def mark(self) -> str:
        """Changes exactly when the page has something new to show."""
        return json.dumps(
            [
                *(self.state, self.title, self.stopping, self.sampling, self.step, len(self.curve)),
                *(len(self.validations), list(self.previews), self.adapter is not None, self.ahead),
                self.duration,
            ]
        )


def status_of(run: Path, row: Row, journal: Journal, ahead: int, seconds: float | None) -> Status:
    """The status of a run, from its row and its journal. `seconds` is the longest a run may train at a stretch."""
    running = row.state == "running"
    adapter = run / folders.ADAPTER
    return Status(
        state=row.state,
        title=row.title,
        stopping=running and (run / "stop").exists(),
        sampling=running and (run / "sample").exists(),
        began=row.started is not None or journal.prepared is not None,
        step=journal.step,
        steps=journal.steps or row.steps,
        seconds_left=journal.seconds_left if running else None,
        speed=journal.speed,
        memory=journal.memory,
        curve=journal.curve(),
        validations=dict(journal.validations),
        perplexities=dict(journal.perplexities),
        blocks=journal.blocks(),
        overfit=journal.overfit,
        previews=dict(journal.previews),
        problems=reasons(row, seconds),
        log_tail=folders.log_tail(run) if row.state in ENDED_BADLY else "",
        adapter=adapter if adapter.is_file() and not running else None,
        ahead=ahead,
        duration=None if row.ended is None else row.trained or None,
    )


def reasons(row: Row, seconds: float | None) -> tuple[str, ...]:
    """Why a run ended as it did: what it said itself, else what its exit code tells."""
    if row.state == "stopped" and seconds is not None and (row.ended or 0) - (row.started or 0) >= seconds > 0:
        return (say("ended.time", minutes=round(seconds / 60)),)
    if row.state not in ENDED_BADLY or row.problems:
        return row.problems
    if not row.code:
        return (say("ended.silent"),)
    return (say("ended.signal", signal=-row.code) if row.code < 0 else say("ended.code", code=row.code),)
