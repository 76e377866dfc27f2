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
from collections.abc import Callable, Iterator
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


class Server:
    """`python app.py` on a free port, which it keeps when it is started again."""

    def __init__(self, workspace: Path, log: Path):
        self.workspace, self.log, self.port = workspace, log, free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "app.py", "--port", str(self.port), "--workspace", str(self.workspace)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        with self.log.open("ab") as output:
            self.process = process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        wait_for(lambda: process.poll() is not None or answers(self.url), "the page")
        assert process.poll() is None, self.log.read_text()

    def end(self, sign: int = signal.SIGTERM) -> None:
        """End it by its pid; one that does not listen is killed, and fails the test."""
        assert self.process
        self.process.send_signal(sign)
        try:
            self.process.wait(PATIENCE / 4)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def serve(workspace: Path, log: Path) -> Iterator[str]:
    """The address of a server that is ended when the block is left."""
    server = Server(workspace, log)
    try:
        server.start()
        yield server.url
    finally:
        server.end()


def answers(url: str) -> bool:
    """Whether a GET gives status 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
