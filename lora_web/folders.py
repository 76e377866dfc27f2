"""What a run folder says by itself, without the database: settings, process, how it ended, log, adapter.

Files the supervisor adds to it: `process.json` (who trains in it: pid, when that process was born, how long
events.jsonl was at its start), `stop` and `sample` (wishes the worker looks for after each step).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import RunConfig
from pipelines.errors import ProblemsError
from pipelines.events import Failed, Finished, Stopped

from .journal import Journal
from .text import say
from .workspace import new_token, write_atomically

ADAPTER = Path("adapter") / "adapter.safetensors"
_LOG_TAIL = 4000


@dataclass(frozen=True)
class Process:
    """The latest worker of a run folder."""

    pid: int
    birth: str | None
    start: int


def write_process(run: Path, process: Process) -> None:
    """Note who trains here, so that the folder alone can tell."""
    write_atomically(run / "process.json", json.dumps(dataclasses.asdict(process)))


def read_process(run: Path) -> Process | None:
    """Who trained here last, or None when nobody did."""
    try:
        found = json.loads((run / "process.json").read_text(encoding="utf-8"))
        return Process(int(found["pid"]), found["birth"] and str(found["birth"]), int(found["start"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def make(runs_folder: Path, config: RunConfig, dataset: Path) -> Path:
    """A new run folder with a copy of the dataset. Raises ProblemsError; then no folder is left behind."""
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path="dataset")).validate()
    name = new_token()
    run, part = runs_folder / name, runs_folder / f"{name}.part"
    try:
        part.mkdir(mode=0o700, parents=True)
        shutil.copytree(dataset, part / "dataset")
        (part / "run.json").write_text(config.to_json(), encoding="utf-8")
        part.rename(run)
    except OSError as error:
        raise ProblemsError(say("run.unwritable", reason=error.strerror or error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return run


def settings(run: Path) -> RunConfig | None:
    """The settings of a run, or None when its run.json cannot be read."""
    try:
        return RunConfig.load(run / "run.json")
    except ProblemsError:
        return None


def title(run: Path) -> str:
    """What a run is called until a person gives it a name."""
    config = settings(run)
    return (config.data.trigger_word.strip() or Path(config.base).name)[:80] if config else run.name[:8]


def outcome(journal: Journal, start: int, code: int | None, launched: bool) -> tuple[str, tuple[str, ...]]:
    """State of a run without a process, and the problems it told of: what it wrote since `start`, or its exit code."""
    ending = journal.ending if journal.ending_offset > start else None
    if isinstance(ending, Finished):
        return "finished", ()
    if isinstance(ending, Stopped):
        return "stopped", ()
    if isinstance(ending, Failed):
        return "failed", ending.problems
    if not launched and journal.prepared is None:
        return "stopped", ()
    return ("failed" if code is not None and code > 0 else "interrupted"), ()


def last_change(run: Path) -> float | None:
    """When the worker last wrote something."""
    times = [(run / name).stat().st_mtime for name in ("events.jsonl", "log.txt") if (run / name).exists()]
    return max(times, default=None)


def log_tail(run: Path) -> str:
    """The last lines of what the worker printed."""
    path = run / "log.txt"
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _LOG_TAIL))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def events_size(run: Path) -> int:
    """How long events.jsonl is now."""
    path = run / "events.jsonl"
    return path.stat().st_size if path.exists() else 0
