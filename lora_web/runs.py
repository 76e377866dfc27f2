"""The supervisor: training runs as processes of their own, whose state is in their folder and nowhere else.

Files it adds to a run folder: `queued` (waits for its turn), `process.json` (pid, start time, how long events.jsonl
was at the start), `exit.json` (exit code, when this server saw it), `stop` (asks the worker to stop and keep).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.errors import ProblemsError
from pipelines.events import Failed, Finished, Stopped

from . import processes
from .journal import Journal
from .workspace import new_token, write_atomically

ROOT = Path(__file__).resolve().parent.parent
ADAPTER = Path("adapter") / "adapter.safetensors"
ACTIVE = ("queued", "running")
RESUMABLE = ("interrupted", "stopped", "failed")
LOG_TAIL = 4000


@dataclass(frozen=True)
class Status:
    """A run as the page shows it. `state` is queued, running, finished, stopped, failed or interrupted."""

    state: str
    stopping: bool
    step: int
    steps: int
    seconds_left: float | None
    curve: list[tuple[int, float, float]]
    problems: tuple[str, ...]
    log_tail: str
    adapter: Path | None
    ahead: int

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def mark(self) -> str:
        """Changes exactly when the page has something new to show."""
        return json.dumps([self.state, self.stopping, self.step, len(self.curve), self.adapter is not None, self.ahead])


class Supervisor:
    """Starts, watches, stops and resumes runs; one trains at a time, the others wait in line.

    Nothing is lost when this object goes away: workers go on, and the next supervisor finds them by their folders.
    """

    def __init__(self, runs: Iterable[Path] = (), poll: float = 0.3):
        self._lock = threading.RLock()
        self._poll = poll
        self._children: dict[Path, subprocess.Popen[bytes]] = {}
        self._journals: dict[Path, Journal] = {}
        self._watching: set[Path] = set()
        self._queue: list[Path] = []
        self._thread: threading.Thread | None = None
        with self._lock:
            for run in runs:
                if (run / "queued").exists():
                    self._queue.append(run)
                elif self._alive(run):
                    self._watching.add(run)
            self._queue.sort(key=lambda run: (run / "queued").stat().st_mtime)
            self._advance()

    def start(self, runs_folder: Path, config: RunConfig, dataset: Path) -> str:
        """Make a run folder with a copy of the dataset, put it in line and return its id.

        Raises ProblemsError when the settings or the copy fail; then no folder is left behind.
        """
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path="dataset")).validate()
        name = new_token()
        run, part = runs_folder / name, runs_folder / f"{name}.part"
        try:
            part.mkdir(mode=0o700, parents=True)
            shutil.copytree(dataset, part / "dataset")
            (part / "run.json").write_text(config.to_json(), encoding="utf-8")
            (part / "queued").touch()
            part.rename(run)
        except OSError as error:
            raise ProblemsError(
                f"the run folder could not be written: {error.strerror}; free some disk space and try again"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self._enqueue(run)
        return name

    def resume(self, run: Path) -> None:
        """Put a run that ended early back in line; the worker goes on from its newest checkpoint."""
        with self._lock:
            state = self.status(run).state
            if state not in RESUMABLE or self._alive(run):
                raise ProblemsError(f"this run is {state}; only a run that ended early can be resumed")
            (run / "stop").unlink(missing_ok=True)
            (run / "queued").touch()
            self._enqueue(run)

    def stop(self, run: Path) -> None:
        """Ask the worker to stop after its current step and keep the adapter; a waiting run leaves the line."""
        with self._lock:
            if run in self._queue:
                self._queue.remove(run)
                (run / "queued").unlink(missing_ok=True)
            elif self._alive(run):
                (run / "stop").touch()

    def discard(self, run: Path) -> None:
        """End the worker and delete the run folder."""
        with self._lock:
            if run in self._queue:
                self._queue.remove(run)
        process = _read(run / "process.json")
        if process:
            processes.end(process["pid"], process["started"])
        with self._lock:
            child = self._children.pop(run, None)
            if child:
                child.wait()
            self._watching.discard(run)
            self._journals.pop(run, None)
            # Under a name that no page can ask for, in case deleting takes long or fails halfway.
            gone = run.with_name(f"{run.name}.gone")
            if run.exists():
                run.rename(gone)
            self._advance()
        shutil.rmtree(gone, ignore_errors=True)

    def status(self, run: Path) -> Status:
        """What is known about a run, from its folder and its process."""
        with self._lock:
            journal = self._journals.setdefault(run, Journal(run / "events.jsonl"))
            # Asked first: what a process wrote before it ended is then sure to be read.
            alive = self._alive(run)
            journal.update()
            state, problems = self._state(run, journal, alive)
            adapter = run / ADAPTER
            ended_badly = state in ("failed", "interrupted")
            return Status(
                state=state,
                stopping=state == "running" and (run / "stop").exists(),
                step=journal.step,
                steps=journal.steps or _steps(run),
                seconds_left=journal.seconds_left if state == "running" else None,
                curve=journal.curve(),
                problems=problems,
                log_tail=_tail(run / "log.txt") if ended_badly else "",
                adapter=adapter if adapter.is_file() and state != "running" else None,
                ahead=self._queue.index(run) + len(self._watching) if run in self._queue else 0,
            )

    def _state(self, run: Path, journal: Journal, alive: bool) -> tuple[str, tuple[str, ...]]:
        if (run / "queued").exists():
            return "queued", ()
        process = _read(run / "process.json") or {"offset": 0}
        ending = journal.ending if journal.ending_offset > process["offset"] else None
        if isinstance(ending, Finished):
            return "finished", ()
        if isinstance(ending, Stopped):
            return "stopped", ()
        if isinstance(ending, Failed):
            return "failed", ending.problems
        if alive:
            return "running", ()
        child = self._children.get(run)
        code = child.poll() if child else (_read(run / "exit.json") or {}).get("code")
        if code is None or code == 0:
            return "interrupted", (
                "training ended without saying why; the computer or the server may have been switched off",
            )
        if code < 0:
            return "interrupted", (
                f"training was ended from outside (signal {-code}); the computer may have run out of memory",
            )
        return "failed", (f"training ended with exit code {code}; the last lines of its log are below",)

    def _alive(self, run: Path) -> bool:
        child = self._children.get(run)
        if child is not None:
            return child.poll() is None
        process = _read(run / "process.json")
        return process is not None and processes.alive(process["pid"], process["started"])

    def _enqueue(self, run: Path) -> None:
        with self._lock:
            self._queue.append(run)
            self._advance()

    def _advance(self) -> None:
        """Note which workers ended, start the next run, and keep a thread watching while there is need."""
        for run in list(self._watching):
            if not self._alive(run):
                child = self._children.pop(run, None)
                if child and run.exists():
                    write_atomically(run / "exit.json", json.dumps({"code": child.returncode}))
                self._watching.discard(run)
        while self._queue and not self._watching:
            self._launch(self._queue.pop(0))
        if (self._watching or self._queue) and self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="runs", daemon=True)
            self._thread.start()

    def _launch(self, run: Path) -> None:
        (run / "exit.json").unlink(missing_ok=True)
        (run / "process.json").unlink(missing_ok=True)
        events = run / "events.jsonl"
        offset = events.stat().st_size if events.exists() else 0
        with (run / "log.txt").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "pipelines", "worker", str(run)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = {"pid": child.pid, "started": processes.start_time(child.pid), "offset": offset}
        write_atomically(run / "process.json", json.dumps(process))
        (run / "queued").unlink(missing_ok=True)
        self._children[run] = child
        self._watching.add(run)

    def _watch(self) -> None:
        while True:
            time.sleep(self._poll)
            with self._lock:
                self._advance()
                if not self._watching and not self._queue:
                    self._thread = None
                    return


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _steps(run: Path) -> int:
    try:
        return RunConfig.load(run / "run.json").train.steps
    except ProblemsError:
        return 0


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - LOG_TAIL))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
