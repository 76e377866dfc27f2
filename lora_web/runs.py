"""The supervisor: training runs as processes of their own, one per device, the others in line.

What it knows is in the workspace's database (`store`); what happened is in the run folders (`folders`), and where the
two differ the folder is right. Nothing is lost when this object goes away: workers go on, and the next one finds them.
"""

from __future__ import annotations

import dataclasses
import functools
import platform
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.errors import ProblemsError

from . import folders, processes
from .folders import ADAPTER
from .journal import Journal
from .status import ACTIVE, RESUMABLE, Record, Status, status_of
from .store import Row, Store
from .text import say
from .workspace import Visitor, Workspace, is_token

ROOT = Path(__file__).resolve().parent.parent
MAX_TITLE = 80


class Supervisor:
    """Starts, watches, stops and resumes runs. Safe to call from any thread.

    `longest`: seconds a run may train at a stretch; then it is stopped and kept, and may be put in line again.
    """

    def __init__(self, workspace: Workspace, longest: float | None = None, poll: float = 0.3):
        self.workspace, self.longest = workspace, longest
        self._poll = poll
        self._lock = threading.RLock()
        self._store = Store(workspace.root / "runs.sqlite3")
        self._children: dict[Path, subprocess.Popen[bytes]] = {}
        self._journals: dict[Path, Journal] = {}
        # Runs whose process was alive when last looked at.
        self._working: dict[Path, Row] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        with self._lock:
            self._reconcile()
            self._advance()

    @property
    def notice(self) -> str:
        """What became of a damaged database, as a sentence; empty when nothing did."""
        return say("store.rebuilt", name=self._store.damaged.name) if self._store.damaged else ""

    @property
    def busy(self) -> bool:
        """Whether a run is training."""
        with self._lock:
            return bool(self._working)

    def close(self) -> None:
        """Stop watching and let another server have the workspace. Training goes on."""
        with self._lock:
            self._closed = True
            self._store.close()

    def start(self, runs_folder: Path, config: RunConfig, dataset: Path) -> str:
        """Make a run folder with a copy of the dataset, put it in line and return its id.

        Raises ProblemsError when the settings or the copy fail; then no folder is left behind.
        """
        run = folders.make(runs_folder, config, dataset)
        with self._lock:
            # Adopted already, if somebody looked at the list in between.
            self._row(run)
            self._store.change(run.name, state="queued", place=self._store.last_place())
            self._advance()
        return run.name

    def resume(self, run: Path) -> None:
        """Put a run that ended early back in line; the worker goes on from its newest checkpoint."""
        with self._lock:
            state = self.status(run).state
            if state not in RESUMABLE:
                raise ProblemsError(say("run.not_resumable", state=say(f"run.{state}")))
            row = self._row(run)
            if row.state == "running":
                # It has written its ending, its process is about to go.
                self._settle(run, row)
            self._store.change(run.name, state="queued", place=self._store.last_place())
            self._advance()

    def stop(self, run: Path) -> None:
        """Ask the worker to stop after its current step and keep the adapter; a waiting run leaves the line."""
        with self._lock:
            row = self._row(run)
            if row.state == "queued":
                state, problems = folders.outcome(
                    self._journal(run), row.start, row.code, launched=row.started is not None
                )
                self._store.change(run.name, state=state, problems=problems, place=None)
            elif row.state == "running":
                (run / "stop").touch()

    def sample(self, run: Path) -> None:
        """Ask the worker for preview pictures after its current step."""
        with self._lock:
            if self._row(run).state == "running":
                (run / "sample").touch()

    def rename(self, run: Path, title: str) -> None:
        """Give a run another name; an empty one gives back the first."""
        with self._lock:
            self._row(run)
            self._store.change(run.name, title=_clean(title) or folders.title(run))

    def discard(self, run: Path) -> None:
        """End the worker and delete the run folder."""
        with self._lock:
            row = self._row(run)
            # Out of the line first, so that it is not started while it goes.
            self._store.change(run.name, state="stopped", place=None)
        if row.pid is not None:
            processes.end(row.pid, row.birth)
        with self._lock:
            child = self._children.pop(run, None)
            if child:
                child.wait()
            self._working.pop(run, None)
            self._journals.pop(run, None)
            # Under a name that no page can ask for, in case deleting takes long or fails halfway.
            gone = run.with_name(f"{run.name}.gone")
            if run.exists():
                run.rename(gone)
            self._store.remove(run.name)
            self._advance()
        shutil.rmtree(gone, ignore_errors=True)

    def status(self, run: Path) -> Status:
        """What is known about a run, from its folder and its process."""
        with self._lock:
            row = self._row(run)
            # Asked first: what a process wrote before it ended is then sure to be read.
            alive = row.state == "running" and self._alive(run, row)
            journal = self._journal(run)
            if row.state == "running" and not alive:
                row = self._settle(run, row)
            elif alive and journal.ending and journal.ending_offset > row.start:
                # Its process has written its ending and is about to go.
                row = dataclasses.replace(row, **self._outcome(run, row, None))
            return status_of(run, row, journal, self._ahead(row), self.longest)

    def history(self, visitor: Visitor) -> list[Record]:
        """Every run of a visitor, the newest first, with its adapter file where it has one."""
        with self._lock:
            for run in visitor.run_folders():
                self._row(run)
            records = []
            for row in self._store.rows(visitor.token):
                run = self._path(row)
                if not run.is_dir():
                    self._forget(run)
                    continue
                ahead = 0
                if row.state in ACTIVE:
                    found = self.status(run)
                    loss = found.curve[-1][2] if found.curve else None
                    now: dict[str, Any] = {"state": found.state, "problems": found.problems}
                    now |= {"step": found.step, "steps": found.steps}
                    row = dataclasses.replace(self._row(run), **now, loss=loss)
                    ahead = found.ahead
                adapter = run / ADAPTER
                kept = adapter if adapter.is_file() and row.state != "running" else None
                records.append(Record(run, row, kept, ahead))
            return records[::-1]

    def active(self, visitor: Visitor | None = None) -> list[Row]:
        """The runs that train or wait, of everyone or of one visitor; the oldest first."""
        with self._lock:
            return [row for row in self._store.rows(visitor.token if visitor else None) if row.state in ACTIVE]

    def _path(self, row: Row) -> Path:
        return self.workspace.visitors / row.visitor / "runs" / row.id

    def _row(self, run: Path) -> Row:
        """The row of a run folder; made from the folder when there is none."""
        row = self._store.row(run.name)
        return row if row is not None else self._adopt(run)

    def _journal(self, run: Path) -> Journal:
        journal = self._journals.setdefault(run, Journal(run / "events.jsonl"))
        journal.update()
        return journal

    def _adopt(self, run: Path) -> Row:
        if not run.is_dir():
            raise ProblemsError(say("runs.gone"))
        journal, process, config = self._journal(run), folders.read_process(run), folders.settings(run)
        start = process.start if process else 0
        state, problems = folders.outcome(journal, start, None, launched=process is not None)
        alive = process is not None and processes.alive(process.pid, process.birth)
        changed = folders.last_change(run)
        row = Row(
            id=run.name,
            visitor=run.parent.parent.name,
            title=folders.title(run),
            device=device(config.train.device if config else "auto"),
            state="running" if alive else state,
            problems=problems,
            created=(run / "run.json").stat().st_mtime if config else run.stat().st_mtime,
            started=(run / "process.json").stat().st_mtime if process else None,
            ended=None if alive else changed,
            pid=process.pid if process else None,
            birth=process.birth if process else None,
            start=start,
            step=journal.step,
            steps=journal.steps or (config.train.steps if config else 0),
            loss=journal.last_loss,
        )
        self._store.add(row)
        if alive:
            self._working[run] = row
        return row

    def _reconcile(self) -> None:
        """At the start: the database as the folders and processes say, whatever happened since it was written."""
        for row in self._store.rows():
            run = self._path(row)
            if not (is_token(row.id) and is_token(row.visitor) and run.is_dir()):
                self._forget(run)
                continue
            process = folders.read_process(run)
            if row.state == "queued" and process and process.birth != row.birth:
                # The server ended just after it had launched this one.
                now = {"state": "running", "place": None, "started": time.time()}
                self._store.change(row.id, **now, **dataclasses.asdict(process))
                row = self._row(run)
            if row.state == "running" and not self._alive(run, row):
                self._settle(run, row)
            elif row.state in ACTIVE and self._alive(run, row):
                self._working[run] = row
        for run in self.workspace.run_folders():
            self._row(run)

    def _forget(self, run: Path) -> None:
        self._store.remove(run.name)
        self._journals.pop(run, None)

    def _settle(self, run: Path, row: Row) -> Row:
        """Write down how a run ended."""
        child = self._children.get(run)
        self._store.change(run.name, **self._outcome(run, row, child.poll() if child else None))
        return self._row(run)

    def _outcome(self, run: Path, row: Row, code: int | None) -> dict[str, Any]:
        """What the row of a launched run becomes at its end."""
        journal = self._journal(run)
        state, problems = folders.outcome(journal, row.start, code, launched=True)
        ended = max(folders.last_change(run) or 0.0, row.started or row.created)
        return {
            "state": state,
            "problems": problems,
            "code": code,
            "ended": ended,
            "trained": row.trained + ended - (row.started or ended),
            "step": journal.step,
            "steps": journal.steps or row.steps,
            "loss": journal.last_loss,
        }

    def _alive(self, run: Path, row: Row) -> bool:
        child = self._children.get(run)
        if child is not None:
            return child.poll() is None
        return row.pid is not None and processes.alive(row.pid, row.birth)

    def _ahead(self, row: Row) -> int:
        """How many runs go before a waiting one."""
        if row.state != "queued":
            return 0
        same = [other.id for other in self._store.line() if other.device == row.device]
        return same.index(row.id) + sum(other.device == row.device for other in self._working.values())

    def _advance(self) -> None:
        """Note which workers ended, start the next run of each device, keep a thread watching while there is need."""
        for run, row in list(self._working.items()):
            if self._alive(run, row):
                self._check_time(run, row)
                continue
            now = self._store.row(run.name)
            if now and now.state == "running":
                self._settle(run, now)
            self._children.pop(run, None)
            del self._working[run]
        busy = {row.device for row in self._working.values()}
        for row in self._store.line():
            if row.device not in busy and self._launch(self._path(row), row):
                busy.add(row.device)
        if (self._working or self._store.line()) and self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="runs", daemon=True)
            self._thread.start()

    def _check_time(self, run: Path, row: Row) -> None:
        if self.longest is None or not row.started:
            return
        if time.time() - row.started > self.longest and not (run / "stop").exists():
            (run / "stop").touch()

    def _launch(self, run: Path, row: Row) -> bool:
        """Start the worker of a run; whether there is one now."""
        if not run.is_dir():
            self._forget(run)
            return False
        try:
            for wish in ("stop", "sample"):
                (run / wish).unlink(missing_ok=True)
            start = folders.events_size(run)
            with (run / "log.txt").open("ab") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "pipelines", "worker", str(run)],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._children[run] = child
            process = folders.Process(child.pid, processes.start_time(child.pid), start)
            folders.write_process(run, process)
        except OSError as error:
            told = say("run.unwritable", reason=error.strerror or error)
            self._store.change(run.name, state="failed", problems=(told,), place=None, code=None)
            return False
        now = {"started": time.time(), "ended": None, "code": None, "problems": (), "place": None}
        self._store.change(run.name, state="running", **now, **dataclasses.asdict(process))
        self._working[run] = self._row(run)
        return True

    def _watch(self) -> None:
        while True:
            time.sleep(self._poll)
            with self._lock:
                if self._closed:
                    return
                # A full disk must not end the watch: what could not be written is tried again.
                with suppress(ProblemsError, OSError):
                    self._advance()
                    if not self._working and not self._store.line():
                        self._thread = None
                        return


@functools.cache
def device(wanted: str) -> str:
    """The device a run will train on, without asking torch: runs on one device wait for each other."""
    if wanted != "auto":
        return wanted
    if shutil.which("nvidia-smi") or Path("/dev/nvidiactl").exists():
        return "cuda"
    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


def _clean(title: str) -> str:
    """A name as it is kept: one line, not long."""
    return " ".join("".join(c for c in title if c.isprintable() or c.isspace()).split())[:MAX_TITLE]
