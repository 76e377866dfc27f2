"""Running `train` for someone who is not there: events go to events.jsonl, failures become events too."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from .config import RunConfig
from .data.readers import READERS
from .errors import ProblemsError
from .events import Event, Failed, Finished, Stopped, from_json
from .files import write_text

EVENTS_FILE = "events.jsonl"
CONFIG_FILE = "run.json"
_ROOM = 64 << 20


def start(config: RunConfig, run_dir: Path) -> None:
    """Make a run folder with its run.json. Raises ProblemsError when a different run is already there.

    Of several processes only the first does it.
    """
    config.validate()
    if not is_main_process():
        return
    existing = run_dir / CONFIG_FILE
    if existing.exists() and not _never_began(run_dir) and RunConfig.load(existing) != config:
        raise ProblemsError(f"output {run_dir} already holds a run with other settings; resume it or name a new folder")
    if run_dir.exists() and not existing.exists() and any(run_dir.iterdir()):
        raise ProblemsError(f"output {run_dir} is not empty and holds no run; name a new folder")
    write_text(existing, config.to_json())
    free = shutil.disk_usage(run_dir).free
    if free < _ROOM:
        raise ProblemsError(
            f"output {run_dir} has {free >> 20} MiB free, a run needs at least {_ROOM >> 20} MiB; free some room"
        )


def run(run_dir: Path, cache_dir: Path | None = None, config: RunConfig | None = None) -> Iterator[Event]:
    """Train the run of a folder, or go on with it; every event is appended to events.jsonl before it is yielded.

    `config` stands in for the folder's run.json where that may not be written yet: in all processes but the first.
    Whatever goes wrong ends as a `Failed` event with a sentence; the traceback of a surprise goes to stderr.
    """
    from .train import train

    events = _guarded(lambda: train(config or RunConfig.load(run_dir / CONFIG_FILE), run_dir, cache_dir=cache_dir))
    if not is_main_process():
        yield from events
        return
    _end_last_line(run_dir / EVENTS_FILE)
    with (run_dir / EVENTS_FILE).open("a", encoding="utf-8", buffering=1) as log:
        for event in events:
            log.write(event.to_json() + "\n")
            yield event


def _never_began(run_dir: Path) -> bool:
    """Whether the run ended before it had samples: a mistake in its settings may be put right in place."""
    tables = [f"dataset/{table}" for reader in READERS.values() for table in reader.tables]
    return not any((run_dir / name).exists() for name in (*tables, "checkpoints", "adapter"))


def forget_stop(run_dir: Path) -> None:
    """Take back a wish to stop, for a run that is started anew. Not for the worker to do: the page's wish may have come
    while it was still importing."""
    (run_dir / "stop").unlink(missing_ok=True)


def is_main_process() -> bool:
    """Whether this is the first (or only) process of a run; launchers tell by these variables."""
    ranks = (os.environ.get(name) for name in ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"))
    return int(next((rank for rank in ranks if rank), "0")) == 0


def _end_last_line(path: Path) -> None:
    """A crash may have cut the last line in half; the next event must not be glued to it."""
    if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
        with path.open("a", encoding="utf-8") as log:
            log.write("\n")


def _guarded(make: Callable[[], Iterator[Event]]) -> Iterator[Event]:
    step = 0
    try:
        for event in make():
            step = getattr(event, "step", step)
            yield event
    except ProblemsError as error:
        yield Failed(step, error.problems)
    except MemoryError:
        yield Failed(step, (_OUT_OF_MEMORY,))
    except RuntimeError as error:
        if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
            yield Failed(step, (_OUT_OF_MEMORY,))
        else:
            traceback.print_exc()
            yield Failed(step, (f"the program met an error it did not expect ({error}); the log has the details",))
    except Exception as error:
        traceback.print_exc()
        yield Failed(
            step,
            (f"the program met an error it did not expect ({type(error).__name__}: {error}); the log has the details",),
        )


_OUT_OF_MEMORY = (
    "memory ran out; lower train.batch_size or data.resolution, or turn on train.gradient_checkpointing, then resume: "
    "the last checkpoint is kept"
)


def read_events(run_dir: Path) -> list[Event]:
    """The events of a run so far. A last line that a crash cut in half is left out."""
    path = run_dir / EVENTS_FILE
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            events.append(from_json(line))
        except (ValueError, TypeError):
            continue
    return events


def outcome(events: list[Event]) -> int:
    """The exit code that the last event stands for: 0 done or stopped, 2 bad input before the first step, else 1."""
    last = events[-1] if events else None
    if isinstance(last, Failed):
        return 2 if last.step == 0 else 1
    return 0 if isinstance(last, (Finished, Stopped)) else 1
