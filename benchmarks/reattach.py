"""How long until a new tab shows a run that is going on: from asking for the page to the run's state on it.

    python benchmarks/reattach.py [rounds]

Trains on the example pictures and opens the page again and again, each time in a new tab of the same browser. Needs
playwright and chromium (or CHROMIUM).
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
RUNNING = '#status [data-state="running"]'


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    browser_path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--workspace", folder], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        try:
            while not answers(url):
                time.sleep(0.05)
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            context = browser.new_context()
            context.set_default_timeout(300_000)
            page = context.new_page()
            page.goto(url)
            page.locator("#use-example:enabled").click()
            page.locator("#gallery img, #editor img").first.wait_for()
            page.locator("#set-train-steps input").fill("100000")
            page.locator("#train").click()
            page.locator("#status [data-step]").wait_for()
            page.close()
            taken = []
            for number in range(rounds):
                page = context.new_page()
                started = time.perf_counter()
                page.goto(url, wait_until="commit")
                page.locator(RUNNING).wait_for()
                taken.append(time.perf_counter() - started)
                print(f"round {number + 1}: {taken[-1]:.2f} s")
                page.close()
            page = context.new_page()
            page.goto(url)
            page.once("dialog", lambda dialog: dialog.accept())
            page.locator("#discard:enabled").click()
            page.locator(RUNNING).wait_for(state="detached")
            browser.close()
        finally:
            server.terminate()
            server.wait()
    print(f"median of {rounds}: {statistics.median(taken):.2f} s, slowest {max(taken):.2f} s")


if __name__ == "__main__":
    main()
