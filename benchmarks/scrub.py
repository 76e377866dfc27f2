"""How fast the strength slider is in a browser, on a really trained adapter of emoji-sd.

    python -m benchmarks.scrub [--run RUN_DIR] [--moves 200]

Prints the 95th percentile of a slider move (from the input event to the frame that shows it; at most 50 ms), how many
requests those moves made (none), and how long it takes from Show to the slider for a ladder that is in the cache (at
most 200 ms; two ladders take turns). Without --run a run of 20 steps on the example pictures is made. Needs Playwright
and chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.example_adapter import train
from tests.browser_parts import chromium, is_of_the_ladder
from tests.web_parts import serve

RUN = "0123456789abcdef" * 2
# Each move is made when the frame of the one before has been painted, so that none hides behind another.
MOVES = """async (moves) => {
  const slider = document.querySelector('#ladder [data-part="slider"]');
  const [low, high] = [Number(slider.min), Number(slider.max)];
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const found = [];
  for (let i = 0; i < moves; i++) {
    slider.value = low + (high - low) * Math.abs(Math.sin(i / 9));
    await frame();
    const start = performance.now();
    slider.dispatchEvent(new Event("input"));
    await frame();
    found.push(performance.now() - start);
  }
  return found;
}"""
# From the click on Show to the new rungs of the slider.
REOPEN = """() => new Promise((done) => {
  const of = document.querySelector('#ladder [data-part="rungs"]');
  const start = performance.now();
  const seen = (all, self) => { self.disconnect(); done(performance.now() - start); };
  new MutationObserver(seen).observe(of, {childList: true});
  document.querySelector("#show").click();
})"""


def open_run(page: Page, url: str, workspace: Path, run: Path) -> None:
    """Give the visitor the run and draw its first ladder."""
    page.goto(url)
    page.locator("#use-example:enabled").wait_for()
    (visitor,) = (workspace / "visitors").iterdir()
    shutil.copytree(run, visitor / "runs" / RUN)
    # A run that can be tried is shown without being asked for.
    page.goto(f"{url}?run={RUN}")
    page.locator('#ladder [data-part="zero"]:visible').wait_for()


def reopen(page: Page, prompt: str) -> float:
    """Milliseconds from Show to the rungs of this prompt's ladder."""
    page.locator("#prompt textarea").fill(prompt)
    taken = float(page.evaluate(REOPEN))
    page.locator('#ladder [data-part="zero"]:visible').wait_for()
    page.locator('#ladder [data-part="wait"]:empty').wait_for(state="attached")
    return taken


def high(values: list[float], share: float = 0.95) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--moves", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        run = args.run or Path(folder) / "run"
        train(run, {"train.steps": "20"})
        workspace = Path(folder) / "workspace"
        with serve(workspace, Path(folder) / "log") as url:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(900_000)
            open_run(page, url, workspace, run)
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url) if is_of_the_ladder(request) else None)
            moves = page.evaluate(MOVES, args.moves)
            requests = len(asked)
            prompts = [page.locator("#prompt textarea").input_value(), "a house, openmoji"]
            again = [reopen(page, prompts[i % 2]) for i in range(1, 12)]
            # The first of them was drawn.
            again = again[1:]
            browser.close()
    print(f"slider move: p50 {high(moves, 0.5):.1f} ms, p95 {high(moves):.1f} ms over {len(moves)} moves")
    print(f"requests while moving: {requests}")
    print(f"cached ladder reopened: p50 {high(again, 0.5):.0f} ms, longest {max(again):.0f} ms of {len(again)}")


if __name__ == "__main__":
    main()
