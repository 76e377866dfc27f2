"""More than one process: a batch split over two, and a worker that is killed and resumed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines import worker
from pipelines.__main__ import main
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.events import Finished, Prepared, Step
from pipelines.train import ADAPTER_FILE

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch")
DEADLINE = 240
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_USE_CPU")

Base = Callable[[str], Path]


def tiny_run(base: Path, data: Path, **settings: object) -> RunConfig:
    defaults = {"batch_size": 4, "warmup": 0, "learning_rate": 1e-2, "precision": "fp32", "device": "cpu"}
    return RunConfig(
        base=str(base),
        data=DataConfig(path=str(data), resolution=64),
        adapter=AdapterConfig(rank=2, alpha=2.0),
        train=TrainConfig(**{**defaults, **settings}),  # type: ignore[arg-type]
    )


def environment(**more: str) -> dict[str, str]:
    """Ours, with as many threads in the child as here: another number of threads sums in another order."""
    plain = {name: value for name, value in os.environ.items() if name not in RANKS}
    return {**plain, "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONUNBUFFERED": "1", **more}


def call(command: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def train_arguments(config: RunConfig, run: Path, file: Path) -> list[str]:
    file.write_text(config.to_json(), encoding="utf-8")
    return ["-m", "pipelines", "train", "--config", str(file), "--output", str(run)]


def test_two_processes_equal_one(tiny_base: Base, pictures: Path, tmp_path: Path) -> None:
    config = tiny_run(tiny_base("sd1"), pictures, steps=4, accumulation=2, checkpoint_every=2)
    config = replace(config, data=replace(config.data, validation_percent=20.0))
    two = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", free_port()]
    arguments = train_arguments(config, tmp_path / "two", tmp_path / "run.json")
    done = call([*LAUNCH, *two, "--mixed_precision", "no", "--dynamo_backend", "no", *arguments])
    assert done.returncode == 0, done.stderr
    worker.start(config, tmp_path / "one")
    alone = list(worker.run(tmp_path / "one"))
    together = worker.read_events(tmp_path / "two")
    assert isinstance(together[0], Prepared) and "2 processes share every batch" in together[0].notes
    # Written by one process, once: the same kinds of events in the same order, and nothing printed twice.
    assert [(type(e), getattr(e, "step", 0)) for e in together] == [(type(e), getattr(e, "step", 0)) for e in alone]
    assert len((tmp_path / "two" / worker.EVENTS_FILE).read_text().splitlines()) == len(together)
    assert done.stdout.count("finished at step 4") == 1
    for first, second in zip(alone, together, strict=True):
        if isinstance(first, Step) and isinstance(second, Step):
            assert first.loss == pytest.approx(second.loss, rel=1e-4)
    expected, found = load_file(tmp_path / "one" / ADAPTER_FILE), load_file(tmp_path / "two" / ADAPTER_FILE)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_accelerate_launch_on_the_cpu_says_when_it_starts_one_process(
    tiny_base: Base, pictures: Path, tmp_path: Path
) -> None:
    config = tiny_run(tiny_base("sd1"), pictures, steps=1)
    two = ["--num_processes", "2", "--cpu", "--main_process_port", free_port()]
    done = call([*LAUNCH, *two, *train_arguments(config, tmp_path / "run", tmp_path / "run.json")])
    assert done.returncode == 0, done.stderr
    assert "started one process" in done.stderr and "torchrun" in done.stderr
    worker.start(config, tmp_path / "alone")
    list(worker.run(tmp_path / "alone"))
    assert (tmp_path / "run" / ADAPTER_FILE).read_bytes() == (tmp_path / "alone" / ADAPTER_FILE).read_bytes()


def test_a_batch_that_cannot_be_split_is_bad_input(
    tiny_base: Base,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Two:
        num_processes = 2

        def __init__(self, **settings: object):
            self.settings = settings

    monkeypatch.setattr("pipelines.train.Accelerator", Two)
    config = tiny_run(tiny_base("sd1"), pictures, steps=1, batch_size=3)
    assert main(train_arguments(config, tmp_path / "run", tmp_path / "run.json")[2:]) == 2
    sentence = capsys.readouterr().err.strip()
    assert sentence == "train.batch_size is 3, must be a multiple of the 2 processes"


def kill_at(run: Path, step: int) -> None:
    """Start a worker on a run folder and kill it, without warning, once events.jsonl tells of `step`."""
    log = run.parent / f"{run.name}-{step}.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "pipelines", "worker", str(run)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=output, stderr=output)
    until = time.monotonic() + DEADLINE
    try:
        while not any(isinstance(event, Step) and event.step >= step for event in worker.read_events(run)):
            assert process.poll() is None, f"the worker ended by itself:\n{log.read_text()}"
            assert time.monotonic() < until, f"no step {step} in {DEADLINE} s:\n{log.read_text()}"
            try:
                process.wait(timeout=0.01)
            except subprocess.TimeoutExpired:
                continue
    finally:
        process.kill()
        process.wait()


def test_killed_and_resumed_gives_the_same_bytes(tiny_base: Base, pictures: Path, tmp_path: Path) -> None:
    """Twice killed, at a checkpoint's edge and between checkpoints, with accumulation and a moving average on."""
    config = tiny_run(tiny_base("sd1"), pictures, steps=30, batch_size=2, accumulation=2, ema=0.9, checkpoint_every=3)
    for name in ("killed", "whole"):
        worker.start(config, tmp_path / name)
    whole = list(worker.run(tmp_path / "whole"))
    for step in (1, 7):
        kill_at(tmp_path / "killed", step)
        assert not (tmp_path / "killed" / ADAPTER_FILE).exists()
    assert main(["resume", str(tmp_path / "killed")]) == 0
    events = worker.read_events(tmp_path / "killed")
    starts = [event.step for event in events if isinstance(event, Prepared)]
    assert starts[0] == 0 and len(starts) == 3 and 6 <= starts[-1] < 30
    assert isinstance(whole[-1], Finished) and isinstance(events[-1], Finished)
    assert (tmp_path / "killed" / ADAPTER_FILE).read_bytes() == (tmp_path / "whole" / ADAPTER_FILE).read_bytes()
