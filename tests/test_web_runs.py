"""The supervisor: what it says about a run is what its folder and its process say."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_web import processes
from lora_web.folders import ADAPTER, Process, read_process, write_process
from lora_web.runs import Supervisor
from lora_web.store import Row, Store
from lora_web.workspace import Visitor, Workspace, new_token
from pipelines.errors import ProblemsError
from pipelines.events import Event, Failed, Finished, Stopped
from tests.run_parts import prepared, step, write
from tests.web_parts import ROOT, tiny_config, wait_for

VISITOR = "a" * 32


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def run(workspace: Workspace) -> Path:
    """A folder for a run, not made yet."""
    return workspace.visitors / VISITOR / "runs" / new_token()


@pytest.fixture
def supervise(workspace: Workspace) -> Iterator[Callable[..., Supervisor]]:
    """Supervisors of the workspace, as many as are asked for, one at a time."""
    made: list[Supervisor] = []

    def make(**settings: Any) -> Supervisor:
        if made:
            made[-1].close()
        made.append(Supervisor(workspace, **settings))
        return made[-1]

    yield make
    if made:
        made[-1].close()


def gone() -> Process:
    """A process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    birth = processes.start_time(child.pid)
    child.wait()
    return Process(child.pid, birth, 0)


def row(run: Path, **values: Any) -> Row:
    """What the database holds of a run that was training when the last server went away."""
    process = gone()
    start = Row(run.name, VISITOR, "discs", "cpu", "running", 1.0, started=2.0, pid=process.pid, birth=process.birth)
    return dataclasses.replace(start, **values)


def remember(workspace: Workspace, *rows: Row) -> None:
    store = Store(workspace.root / "runs.sqlite3")
    for one in rows:
        store.add(one)
    store.close()


ENDINGS: list[tuple[list[Event], int | None, str]] = [
    ([Finished(10, "a", 1.0)], 0, "finished"),
    ([Stopped(4, "a")], 0, "stopped"),
    ([Failed(4, ("the loss became nan",))], 1, "failed"),
    ([], None, "interrupted"),
]


@pytest.mark.parametrize(("events", "code", "state"), ENDINGS)
@pytest.mark.parametrize("known", [True, False], ids=["in the database", "copied in"])
def test_a_run_that_ended_while_no_server_watched(
    workspace: Workspace,
    run: Path,
    supervise: Callable[..., Supervisor],
    events: list[Event],
    code: int | None,
    state: str,
    known: bool,
) -> None:
    write(run, prepared(), step(1), *events)
    (run / "log.txt").write_text("Traceback: something\n")
    write_process(run, gone())
    if known:
        remember(workspace, row(run))
    found = supervise().status(run)
    assert found.state == state
    assert not found.active
    assert found.title == ("discs" if known else "emoji-sd")
    assert found.log_tail == ("Traceback: something\n" if state in ("failed", "interrupted") else "")
    assert (found.problems == ("the loss became nan",)) == (state == "failed")
    assert bool(found.problems) == (state in ("failed", "interrupted"))


@pytest.mark.parametrize(("code", "state", "told"), [(1, "failed", "code 1"), (-9, "interrupted", "signal 9")])
def test_an_exit_code_is_told(
    workspace: Workspace, run: Path, supervise: Callable[..., Supervisor], code: int, state: str, told: str
) -> None:
    write(run, prepared(), step(1))
    remember(workspace, row(run, state=state, code=code))
    found = supervise().status(run)
    assert found.state == state
    assert told in found.problems[0]


def test_an_ending_from_before_the_last_launch_does_not_count(
    workspace: Workspace, run: Path, supervise: Callable[..., Supervisor]
) -> None:
    write(run, prepared(), step(1), Stopped(1, "a"))
    remember(workspace, row(run, start=(run / "events.jsonl").stat().st_size))
    assert supervise().status(run).state == "interrupted"


def test_a_pid_that_was_used_again_is_not_our_process(run: Path, supervise: Callable[..., Supervisor]) -> None:
    write(run, prepared())
    write_process(run, Process(os.getpid(), "another boot:1", 0))
    assert supervise().status(run).state == "interrupted"


def test_a_running_worker_is_found_by_its_folder_alone(run: Path, supervise: Callable[..., Supervisor]) -> None:
    write(run, prepared())
    write_process(run, Process(os.getpid(), processes.start_time(os.getpid()), 0))
    found = supervise()
    assert found.status(run).state == "running"
    assert [one.id for one in found.active()] == [run.name]


def test_a_worker_launched_just_before_the_server_went_is_not_launched_twice(
    workspace: Workspace, run: Path, supervise: Callable[..., Supervisor]
) -> None:
    write(run, prepared())
    remember(workspace, row(run, state="queued", place=1, started=None, pid=None, birth=None))
    write_process(run, Process(os.getpid(), processes.start_time(os.getpid()), 0))
    assert supervise().status(run).state == "running"
    assert read_process(run) == Process(os.getpid(), processes.start_time(os.getpid()), 0)


def test_a_row_without_a_folder_and_a_folder_without_a_row(
    workspace: Workspace, run: Path, supervise: Callable[..., Supervisor]
) -> None:
    lost = run.with_name(new_token())
    remember(workspace, row(lost), row(run.with_name(new_token()), state="queued", place=1))
    supervisor = supervise()
    visitor = workspace.visitor(VISITOR)
    assert supervisor.history(visitor) == []
    write(run, prepared(), step(1), Finished(1, ADAPTER.as_posix(), 1.0))
    (run / ADAPTER).parent.mkdir()
    (run / ADAPTER).touch()
    (record,) = supervisor.history(visitor)
    assert (record.run, record.row.state, record.adapter) == (run, "finished", run / ADAPTER)
    assert supervisor.history(workspace.visitor("b" * 32)) == []
    (run / "run.json").unlink()
    run.rename(run.with_name("elsewhere"))
    assert supervisor.history(visitor) == []


def test_a_name_is_one_short_line(workspace: Workspace, run: Path, supervise: Callable[..., Supervisor]) -> None:
    write(run, prepared())
    supervisor = supervise()
    supervisor.rename(run, "  foxes\n\x00and " + "x" * 500)
    title = supervise().status(run).title
    assert title.startswith("foxes and xxx")
    assert len(title) == 80
    supervise().rename(run, " \n")
    assert supervise().status(run).title == "emoji-sd"


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda _: b"this is not a database, " * 200,
    "overwritten in the middle": lambda data: data[:4096] + b"\xff" * 4096 + data[8192:],
    "cut off": lambda data: data[: len(data) // 2],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_database_is_put_aside_and_made_anew(
    workspace: Workspace, run: Path, supervise: Callable[..., Supervisor], damage: Callable[[bytes], bytes]
) -> None:
    write(run, prepared(), step(1), Finished(1, "a", 1.0))
    remember(workspace, row(run), *(row(run.with_name(new_token()), title="x" * 80) for _ in range(50)))
    path = workspace.root / "runs.sqlite3"
    path.write_bytes(damage(path.read_bytes()))
    supervisor = supervise()
    assert supervisor.status(run).state == "finished"
    assert [record.row.id for record in supervisor.history(workspace.visitor(VISITOR))] == [run.name]
    (aside,) = workspace.root.glob("runs.sqlite3.damaged-*")
    assert aside.name in supervisor.notice
    assert supervise().notice == ""


def test_a_database_of_a_later_version_is_put_aside_too(
    workspace: Workspace, supervise: Callable[..., Supervisor]
) -> None:
    with sqlite3.connect(workspace.root / "runs.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    assert "damaged" in supervise().notice


def test_one_workspace_has_one_server(workspace: Workspace, supervise: Callable[..., Supervisor]) -> None:
    supervise()
    command = [sys.executable, "app.py", "--workspace", str(workspace.root)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert second.returncode == 2
    assert second.stderr.startswith("Another LoRA Web is using the workspace")
    assert second.stderr.count("\n") == 1


def test_what_cannot_be_resumed_says_so(run: Path, supervise: Callable[..., Supervisor]) -> None:
    write(run, prepared(), Finished(10, "a", 1.0))
    with pytest.raises(ProblemsError, match="Done"):
        supervise().resume(run)


def test_bad_settings_leave_no_folder_behind(
    workspace: Workspace, tmp_path: Path, supervise: Callable[..., Supervisor]
) -> None:
    runs = workspace.visitor(VISITOR).runs_folder()
    with pytest.raises(ProblemsError, match=r"train\.steps is 0"):
        supervise().start(runs, tiny_config(tmp_path, steps=0), tmp_path)
    assert not list(runs.iterdir())


@pytest.fixture
def visitor(workspace: Workspace, pictures: Path) -> Iterator[tuple[Visitor, Path]]:
    """A visitor with a dataset; whatever the test leaves running is ended."""
    visitor = workspace.visitor(None)
    dataset = visitor.dataset(visitor.import_samples([pictures], "stable_diffusion"))
    assert dataset
    yield visitor, dataset
    last = Supervisor(workspace)
    for run in workspace.run_folders():
        last.discard(run)
    last.close()


def pid_of(run: Path) -> int:
    process = read_process(run)
    assert process
    return process.pid


def test_kill_restart_queue_stop_and_resume(
    visitor: tuple[Visitor, Path], tiny_base: Callable[[str], Path], supervise: Callable[..., Supervisor]
) -> None:
    """Two runs: the second waits; the first is killed; a new supervisor finds both, stops one, resumes the other."""
    person, dataset = visitor
    supervisor = supervise()
    first = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 300), dataset))
    second = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 5000), dataset))
    third = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 1), dataset))
    assert first and second and third
    assert supervisor.status(first).state == "running"
    assert [(supervisor.status(run).state, supervisor.status(run).ahead) for run in (second, third)] == [
        ("queued", 1),
        ("queued", 2),
    ]
    with pytest.raises(ProblemsError, match="Training"):
        supervisor.resume(first)
    # It never began: it leaves the line and has nothing to show.
    supervisor.stop(third)
    assert (supervisor.status(third).state, supervisor.status(third).began) == ("stopped", False)

    wait_for(lambda: supervisor.status(first).step >= 5, "five steps")
    os.kill(pid_of(first), signal.SIGKILL)
    wait_for(lambda: supervisor.status(first).state == "interrupted", "the killed run to be noticed")
    assert "signal 9" in supervisor.status(first).problems[0]
    reached = supervisor.status(first).step

    wait_for(lambda: supervisor.status(second).state == "running", "the second run to be started")
    again = supervise()
    assert again.status(first).state == "interrupted"
    assert "signal 9" in again.status(first).problems[0]
    assert again.status(second).state == "running"
    # Asked while the worker is still importing: the wish must not be lost.
    again.stop(second)
    assert again.status(second).stopping
    again.resume(first)
    assert again.status(first).state == "queued"
    wait_for(lambda: again.status(second).state == "stopped", "the second run to stop")
    assert again.status(second).step < 5000

    wait_for(lambda: again.status(first).step > reached, "the resumed run to pass where it was")
    again.sample(first)
    wait_for(lambda: again.status(first).state == "finished", "the first run to finish")
    found = again.status(first)
    assert found.step == 300 > reached
    assert [at for at, _, _ in found.curve] == sorted({at for at, _, _ in found.curve})
    assert found.adapter and found.adapter.is_file()
    assert found.duration and found.memory and found.speed
    (shown,) = found.previews.values()
    assert reached < shown.step < 300
    assert shown.prompt.startswith("disc ")
    assert (first / shown.paths[0]).is_file()
    # It went on from a checkpoint, not from the start.
    starts = [json.loads(line) for line in (first / "events.jsonl").read_text().splitlines() if '"Prepared"' in line]
    assert 0 < starts[1]["step"] <= reached

    again.discard(first)
    assert not first.exists()
    assert {record.run for record in again.history(person)} == {second, third}


def test_discard_ends_the_worker_and_time_runs_out(
    visitor: tuple[Visitor, Path], tiny_base: Callable[[str], Path], supervise: Callable[..., Supervisor]
) -> None:
    person, dataset = visitor
    supervisor = supervise(longest=0.001)
    run = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 5000), dataset))
    waiting = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 5000), dataset))
    assert run and waiting
    pid = pid_of(run)
    started = processes.start_time(pid)
    assert processes.alive(pid, started)
    supervisor.discard(run)
    assert not processes.alive(pid, started)
    assert list(person.runs_folder().iterdir()) == [waiting]
    wait_for(lambda: supervisor.status(waiting).state == "stopped", "the run to be stopped by its limit")
    assert "minutes" in supervisor.status(waiting).problems[0]
