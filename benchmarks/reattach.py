"""How long until a new tab shows a run that is going on: from asking for the page to the run's state on it.

    python -m benchmarks.reattach [rounds]

Trains on the example pictures and opens the page again and again, each time in a new tab of the same browser. Needs
playwright and chromium (or CHROMIUM).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser_parts import chromium
from tests.web_parts import serve

RUNNING = '#status [data-state="running"]'


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        serve(Path(folder) / "workspace", Path(folder) / "log") as url,
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
    print(f"median of {rounds}: {statistics.median(taken):.2f} s, slowest {max(taken):.2f} s")


if __name__ == "__main__":
    main()
