"""The supervisor: what it says about a run is what its folder and its process say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_web import processes
from lora_web.journal import Journal
from lora_web.runs import Supervisor
from lora_web.workspace import Visitor, Workspace
from pipelines.config import RunConfig
from pipelines.errors import ProblemsError
from pipelines.events import Event, Failed, Finished, Prepared, Step, Stopped
from tests.web_parts import tiny_config, wait_for


def prepared(step: int = 0, steps: int = 10) -> Prepared:
    return Prepared(
        samples=3,
        validation_samples=0,
        rejected=(),
        notes=(),
        trainable_parameters=100,
        step=step,
        steps=steps,
        device="cpu",
        precision="float32",
    )


def step(number: int, loss: float = 1.0, seconds: float = 2.0) -> Step:
    return Step(number, 10, loss, 1e-3, 1.0, seconds, 0)


def write(run: Path, *events: Event) -> None:
    run.mkdir(parents=True, exist_ok=True)
    if not (run / "run.json").exists():
        (run / "run.json").write_text(RunConfig().to_json())
    with (run / "events.jsonl").open("a") as log:
        log.writelines(event.to_json() + "\n" for event in events)


def ended_process(run: Path, code: int | None = None, offset: int = 0) -> None:
    """The files a launch leaves behind, of a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = processes.start_time(child.pid)
    child.wait()
    run.mkdir(parents=True, exist_ok=True)
    (run / "process.json").write_text(json.dumps({"pid": child.pid, "started": started, "offset": offset}))
    if code is not None:
        (run / "exit.json").write_text(json.dumps({"code": code}))


def test_journal_reads_only_whole_lines_and_what_is_new(tmp_path: Path) -> None:
    write(tmp_path, prepared(), step(1, 4.0), step(2, 2.0))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    assert (journal.step, journal.steps, list(journal.losses)) == (2, 10, [4.0, 2.0])
    line = step(3, 1.0).to_json()
    with (tmp_path / "events.jsonl").open("a") as log:
        log.write(line[:20])
    journal.update()
    assert journal.step == 2
    with (tmp_path / "events.jsonl").open("a") as log:
        log.write(line[20:] + "\nnot an event\n")
    journal.update()
    assert journal.step == 3
    assert journal.seconds_left == 14.0


def test_journal_of_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    write(tmp_path, prepared(), *(step(n, float(n)) for n in range(1, 8)))
    write(tmp_path, prepared(step=4), step(5, 50.0), Finished(5, "adapter/adapter.safetensors", 1.0))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    assert list(journal.at) == [1, 2, 3, 4, 5]
    assert journal.losses[-1] == 50.0
    assert isinstance(journal.ending, Finished)


def test_curve_is_thin_smooth_and_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    losses = [1.0 + (0.5 if n % 2 else -0.5) for n in range(5000)]
    losses[100] = float("nan")
    write(tmp_path, prepared(), *(step(n + 1, loss) for n, loss in enumerate(losses)))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    curve = journal.curve(points=400)
    assert len(curve) <= 400
    assert curve[-1][0] == 5000
    assert all(0.8 < smooth < 1.2 for _, _, smooth in curve[20:])


@pytest.mark.parametrize(
    ("events", "code", "state"),
    [
        ([Finished(10, "a", 1.0)], 0, "finished"),
        ([Stopped(4, "a")], 0, "stopped"),
        ([Failed(4, ("the loss became nan",))], 1, "failed"),
        ([], 1, "failed"),
        ([], -9, "interrupted"),
        ([], None, "interrupted"),
    ],
)
def test_state_of_a_run_whose_process_is_gone(tmp_path: Path, events: list[Event], code: int, state: str) -> None:
    run = tmp_path / "run"
    ended_process(run, code)
    write(run, prepared(), step(1), *events)
    (run / "log.txt").write_text("Traceback: something\n")
    found = Supervisor([run]).status(run)
    assert found.state == state
    assert not found.active
    assert found.log_tail == ("Traceback: something\n" if state in ("failed", "interrupted") else "")
    if isinstance(events[-1] if events else None, Failed):
        assert found.problems == ("the loss became nan",)


def test_an_ending_from_before_the_last_launch_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, prepared(), step(1), Stopped(1, "a"))
    ended_process(tmp_path, code=-9, offset=(tmp_path / "events.jsonl").stat().st_size)
    assert Supervisor().status(tmp_path).state == "interrupted"


def test_a_pid_that_was_used_again_is_not_our_process(tmp_path: Path) -> None:
    write(tmp_path, prepared())
    process = {"pid": os.getpid(), "started": "another boot:1", "offset": 0}
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert Supervisor([tmp_path]).status(tmp_path).state == "interrupted"
    (tmp_path / "process.json").write_text(json.dumps(process | {"started": processes.start_time(os.getpid())}))
    assert Supervisor([tmp_path]).status(tmp_path).state == "running"


def test_what_cannot_be_resumed_says_so(tmp_path: Path) -> None:
    ended_process(tmp_path, 0)
    write(tmp_path, prepared(), Finished(10, "a", 1.0))
    with pytest.raises(ProblemsError, match="finished"):
        Supervisor().resume(tmp_path)


def test_bad_settings_leave_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match=r"train\.steps is 0"):
        Supervisor().start(tmp_path / "runs", tiny_config(tmp_path, steps=0), tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def visitor(tmp_path: Path, pictures: Path) -> Iterator[tuple[Visitor, Path]]:
    """A visitor with a dataset; whatever the test leaves running is ended."""
    workspace = Workspace(tmp_path / "workspace")
    visitor = workspace.visitor(None)
    dataset = visitor.dataset(visitor.import_pictures([pictures]))
    assert dataset
    yield visitor, dataset
    last = Supervisor()
    for run in workspace.run_folders():
        last.discard(run)


def pid_of(run: Path) -> int:
    return int(json.loads((run / "process.json").read_text())["pid"])


@pytest.mark.slow
def test_kill_restart_queue_stop_and_resume(visitor: tuple[Visitor, Path], tiny_base: Callable[[str], Path]) -> None:
    """Two runs: the second waits; the first is killed; a new supervisor finds both, stops one, resumes the other."""
    person, dataset = visitor
    supervisor = Supervisor()
    first = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 300), dataset))
    second = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 5000), dataset))
    assert first and second
    assert supervisor.status(first).state == "running"
    waiting = supervisor.status(second)
    assert (waiting.state, waiting.ahead) == ("queued", 1)
    with pytest.raises(ProblemsError, match="running"):
        supervisor.resume(first)

    wait_for(lambda: supervisor.status(first).step >= 5, "five steps")
    os.kill(pid_of(first), signal.SIGKILL)
    wait_for(lambda: supervisor.status(first).state == "interrupted", "the killed run to be noticed")
    assert "signal 9" in supervisor.status(first).problems[0]
    reached = supervisor.status(first).step

    wait_for(lambda: supervisor.status(second).state == "running", "the second run to be started")
    again = Supervisor([first, second])
    assert again.status(first).state == "interrupted"
    assert again.status(second).state == "running"
    # Asked while the worker is still importing: the wish must not be lost.
    again.stop(second)
    assert again.status(second).stopping
    again.resume(first)
    assert again.status(first).state == "queued"
    wait_for(lambda: again.status(second).state == "stopped", "the second run to stop")
    assert again.status(second).step < 5000

    wait_for(lambda: again.status(first).state == "finished", "the first run to finish")
    found = again.status(first)
    assert found.step == 300 > reached
    assert [at for at, _, _ in found.curve] == sorted({at for at, _, _ in found.curve})
    assert found.adapter and found.adapter.is_file()
    # It went on from a checkpoint, not from the start.
    starts = [json.loads(line) for line in (first / "events.jsonl").read_text().splitlines() if '"Prepared"' in line]
    assert 0 < starts[1]["step"] <= reached

    again.discard(first)
    assert not first.exists()


@pytest.mark.slow
def test_discard_ends_the_worker(visitor: tuple[Visitor, Path], tiny_base: Callable[[str], Path]) -> None:
    person, dataset = visitor
    supervisor = Supervisor()
    run = person.run(supervisor.start(person.runs_folder(), tiny_config(tiny_base("sd1"), 5000), dataset))
    assert run
    pid = pid_of(run)
    started = processes.start_time(pid)
    assert processes.alive(pid, started)
    supervisor.discard(run)
    assert not processes.alive(pid, started)
    assert not list(person.runs_folder().iterdir())
