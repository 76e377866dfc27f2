"""Two real training steps on this machine, in a process of their own, before a run: its memory and its time.

`start` hands a few samples and the run's config to a child and returns at once; the child works in a folder of its own
and its result is kept by base, the settings that matter, and machine. `measure` waits for it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .bases import find_base
from .config import RunConfig, leaves, with_values
from .data.readers import READERS
from .errors import ProblemsError
from .files import write_text
from .registry import family_class

_SAMPLES = 4
_WARM_UP, _STEPS = 1, 2
_KEPT_SECONDS = 24 * 3600
_RESULT, _LOG = "measured.json", "log.txt"
# What changes the cost of a step; all else may change without measuring again.
_MATTERS = ("train.batch_size", "train.accumulation", "train.precision", "train.device", "train.gradient_checkpointing")


@dataclass(frozen=True)
class Measured:
    """What two steps took. Seconds: `load` until the base is there, `encode` for each sample, `steps` each; bytes:
    `needed` by the run, `free` and `total` on the device. `problems`: it could not be measured, and why."""

    device: str = ""
    precision: str = ""
    load: float = 0.0
    encode: float = 0.0
    steps: tuple[float, ...] = ()
    needed: int = 0
    free: int = 0
    total: int = 0
    problems: tuple[str, ...] = ()


@dataclass
class Measuring:
    """A measurement under way. `poll` gives its result once it is there; `cancel` ends it."""

    key: str
    folder: Path
    cache: Path
    child: subprocess.Popen[bytes]

    def poll(self) -> Measured | None:
        """The result, or None while the child works."""
        code = self.child.poll()
        if code is None:
            return None
        found = _read(self.folder / _RESULT) or Measured(problems=(_ended(code, self.folder / _LOG),))
        if not found.problems:
            write_text(self.cache / f"{self.key}.json", json.dumps(dataclasses.asdict(found)))
        shutil.rmtree(self.folder, ignore_errors=True)
        return found

    def cancel(self) -> None:
        """End the child and remove what it wrote."""
        self.child.kill()
        self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def key_of(config: RunConfig) -> str:
    """The same for two configs whose steps cost the same on this machine. Raises ProblemsError for a bad base."""
    values = leaves(config)
    matter = {
        name: value
        for name, value in values.items()
        if name in _MATTERS or name.startswith(("adapter.", "options.", "data.resolution", "data.buckets", "data.flip"))
    }
    machine = [
        platform.node(),
        os.cpu_count(),
        os.environ.get("OMP_NUM_THREADS"),
        os.environ.get("CUDA_VISIBLE_DEVICES"),
    ]
    facts = [config.family, find_base(config.base).fingerprint, matter, config.train.ema > 0, machine]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def known(key: str, cache: Path) -> Measured | None:
    """A result of the last day, if there is one."""
    path = cache / f"{key}.json"
    try:
        fresh = time.time() - path.stat().st_mtime < _KEPT_SECONDS
    except OSError:
        return None
    return _read(path) if fresh else None


def start(config: RunConfig, dataset: Path, cache: Path) -> Measuring:
    """Begin to measure a run of a valid config on an imported dataset."""
    key = key_of(config)
    folder = Path(tempfile.mkdtemp(prefix="measure-"))
    READERS[family_class(config.family).reads].few(dataset, folder / "dataset", _SAMPLES)
    quiet = {
        "data.path": "dataset",
        "data.validation_percent": 0.0,
        "train.steps": max(config.train.steps, _WARM_UP + _STEPS),
        "train.preview_every": 0,
        "train.checkpoint_every": 100_000,
    }
    write_text(folder / "run.json", with_values(config, quiet).to_json())
    with (folder / _LOG).open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "pipelines.measure", str(folder)],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return Measuring(key, folder, cache, child)


def measure(config: RunConfig, dataset: Path, cache: Path) -> Measured:
    """A result of the last day, or a new one, however long it takes."""
    found = known(key_of(config), cache)
    if found:
        return found
    running = start(config, dataset, cache)
    try:
        running.child.wait()
        return running.poll() or Measured()
    except BaseException:
        running.cancel()
        raise


def _read(path: Path) -> Measured | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: tuple(values[name]) for name in ("steps", "problems")}
        return Measured(**{**values, **lists})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _ended(code: int, log: Path) -> str:
    if code < 0:
        return f"the trial steps were ended by signal {-code}; memory may have run out: lower train.batch_size"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["without a word"]
    return f"the trial steps failed, and so may training: {lines[-1][:300]}"


def _main(folder: Path) -> None:
    """The child: estimate, then a few steps of the real loop."""
    started = time.perf_counter()
    try:
        found = _trial(RunConfig.load(folder / "run.json"), folder, started)
    except ProblemsError as error:
        found = Measured(problems=error.problems)
    write_text(folder / _RESULT, json.dumps(dataclasses.asdict(found)))


def _trial(config: RunConfig, folder: Path, started: float) -> Measured:
    import torch

    from .devices import pick_device, pick_dtype
    from .events import Failed, Prepared, Step
    from .memory import estimate, room
    from .train import train

    device = pick_device(config.train.device)
    precision = str(pick_dtype(config.train.precision, device)).removeprefix("torch.")
    free, total = room(device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    counted = Measured(where, precision, needed=estimate(config).total, free=free, total=total)
    if counted.needed > free:
        # The steps would only bring the machine to its knees.
        return counted
    load, encode, seconds, peak = 0.0, 0.0, list[float](), 0
    for event in train(config, folder):
        if isinstance(event, Prepared):
            encode = event.encode_seconds / event.samples
            load = time.perf_counter() - started - event.encode_seconds
        elif isinstance(event, Step):
            seconds.append(event.seconds)
            peak = event.memory
        elif isinstance(event, Failed):
            raise ProblemsError(event.problems)
        if len(seconds) == _WARM_UP + _STEPS:
            break
    return dataclasses.replace(
        counted, load=load, encode=encode, steps=tuple(seconds[_WARM_UP:]), needed=max(counted.needed, peak)
    )


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
