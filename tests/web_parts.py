"""What the tests of the page share: waiting, a run on a tiny base, the page as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig

ROOT = Path(__file__).resolve().parent.parent
# Importing the model libraries takes a minute on a machine that is busy with other things.
PATIENCE = 240.0


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


def tiny_config(base: Path, steps: int) -> RunConfig:
    """A run of a few small steps."""
    return RunConfig(
        base=str(base),
        data=DataConfig(path="dataset", resolution=64),
        adapter=AdapterConfig(rank=2, alpha=2.0),
        train=TrainConfig(steps=steps, batch_size=2, checkpoint_every=2, precision="fp32", device="cpu"),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(workspace: Path, log: Path) -> Iterator[str]:
    """`python app.py` on a free port; ended by its pid when the block is left."""
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--workspace", str(workspace)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for(lambda: server.poll() is not None or answers(url), "the page")
        assert server.poll() is None, log.read_text()
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def new_visitor(workspace: Path, known: Iterable[Path] = ()) -> Path:
    """The folder of the visitor who has just taken pictures, when it is there; `known` are those of others."""
    found: set[Path] = set()

    def look() -> bool:
        found.update(path.parents[1] for path in workspace.glob("visitors/*/datasets/*") if not path.suffix)
        found.difference_update(known)
        return bool(found)

    wait_for(look, "the pictures of a new visitor")
    return found.pop()


def answers(url: str) -> bool:
    """Whether a GET gives status 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
