"""How long until the first page: `python app.py` against a bare Gradio page, process start to the first HTTP 200.

    python benchmarks/first_page.py [rounds]

Both are started in turn on the same machine, so that what else runs on it meets both; medians and their ratio.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARE = """
import os, sys
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio as gr
with gr.Blocks() as demo:
    gr.Markdown("# Hello")
demo.launch(server_port=int(sys.argv[1]), quiet=True)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_page(command: list[str], port: int) -> float:
    """Seconds from starting the command to its first page."""
    started = time.perf_counter()
    server = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                    if answer.status == 200:
                        return time.perf_counter() - started
            except OSError:
                if server.poll() is not None:
                    raise SystemExit(f"{command[0]} ended with exit code {server.returncode}") from None
                time.sleep(0.01)
    finally:
        server.kill()
        server.wait()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            port = free_port()
            bare.append(first_page(["-c", BARE, str(port)], port))
            port = free_port()
            ours.append(first_page(["app.py", "--port", str(port), "--workspace", f"{folder}/workspace"], port))
            print(f"round {number + 1}: bare {bare[-1]:.2f} s, app.py {ours[-1]:.2f} s")
    low, high = statistics.median(bare), statistics.median(ours)
    print(f"median of {rounds}: bare {low:.2f} s, app.py {high:.2f} s, ratio {high / low:.2f}")


if __name__ == "__main__":
    main()
