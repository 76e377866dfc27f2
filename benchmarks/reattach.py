"""How long until a new tab shows a run that is going on: from asking for the page to the run's state and step on it.

    python -m benchmarks.reattach [rounds]

Trains on the example pictures and opens the page again and again, each time in a new tab of the same browser. Prints
when the run's state is seen (at most 1 s), when the page itself is there with its buttons, and, as a measure of
browser and machine, the same for a Gradio page of one text box beside the same training. Needs playwright and chromium
(or CHROMIUM).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

from benchmarks.first_page import BARE
from tests.browser_parts import chromium
from tests.web_parts import free_port, serve, wait_for

# The run's state with its step: before the page is there, and on the page.
SEEN = "#glance [data-step], #status [data-step]"
READY = "#stop:enabled"


def opened(context: BrowserContext, url: str, *parts: str) -> list[float]:
    """Seconds from asking for a page until each of its parts is there."""
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    taken = []
    for part in parts:
        page.locator(part).first.wait_for()
        taken.append(time.perf_counter() - started)
    page.close()
    return taken


@contextmanager
def bare() -> Iterator[str]:
    """A Gradio page with one line of text."""
    url = f"http://127.0.0.1:{(port := free_port())}/"
    server = subprocess.Popen([sys.executable, "-c", BARE, str(port)], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(url), "the bare page")
        yield url
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30):
            return True
    except OSError:
        return False


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        serve(Path(folder) / "workspace", Path(folder) / "log") as url,
        bare() as plain,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        context = browser.new_context()
        context.set_default_timeout(300_000)
        page = context.new_page()
        page.goto(url)
        page.locator("#use-example:enabled").click()
        page.locator("#gallery img").first.wait_for()
        page.locator("#set-train-steps input").fill("100000")
        page.locator("#train").click()
        page.locator("#status [data-step]").wait_for()
        page.close()
        found = []
        for number in range(rounds):
            seen, ready = opened(context, url, SEEN, READY)
            (drawn,) = opened(context, plain, "h1")
            found.append((seen, ready, drawn))
            print(f"round {number + 1}: run seen {seen:.2f} s, page ready {ready:.2f} s, bare Gradio {drawn:.2f} s")
        page = context.new_page()
        page.goto(url)
        page.once("dialog", lambda dialog: dialog.accept())
        page.locator("#discard:enabled").click()
        page.locator(READY).wait_for(state="detached")
        browser.close()
    for name, taken in zip(("run seen", "page ready", "bare Gradio"), zip(*found, strict=True), strict=True):
        print(f"{name}: median of {rounds} {statistics.median(taken):.2f} s, slowest {max(taken):.2f} s")


if __name__ == "__main__":
    main()
