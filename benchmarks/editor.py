"""How the dataset editor feels with many pictures: the browser's long tasks and the time of each kind of event.

    python -m benchmarks.editor [--pictures 500]

Starts `python app.py` and a Chromium, imports a zip file of generated pictures, types, filters, changes all captions,
undoes, scrolls. An event lasts from the input to the next frame; long tasks are the browser's own count (50 ms and
more).
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser_parts import chromium
from tests.web_parts import serve

_WATCH = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration)))
  .observe({ type: "longtask" });
window.timed = async (act) => {
  const start = performance.now();
  act();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
};
"""
_TYPE = """async () => {
  const all = [...document.querySelectorAll("#gallery textarea")].slice(0, 20);
  const times = [];
  for (const field of all) for (const letter of "a fox") times.push(await timed(() => {
    field.value += letter;
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }));
  return times;
}"""
_FILTER = """async () => {
  const field = document.querySelector('[data-part="filter"]');
  const times = [];
  for (const kind of ["no_caption", "ok", "duplicate", "all"]) times.push(await timed(() => {
    field.value = kind;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }));
  return times;
}"""
_BULK = """async () => {
  const times = [];
  for (const word of ["tok", "style", "ink"]) {
    document.querySelector('[data-part="bulk-text"]').value = word;
    times.push(await timed(() => document.querySelector('[data-part="apply"]').click()));
  }
  return times;
}"""
_UNDO = """async () => {
  const times = [];
  for (let i = 0; i < 3; i++) times.push(await timed(() => document.querySelector('[data-part="undo"]').click()));
  return times;
}"""
_SCROLL = """async () => {
  const list = document.getElementById("gallery");
  const times = [];
  for (let i = 1; i <= 20; i++) times.push(await timed(() => { list.scrollTop = list.scrollHeight * i / 20; }));
  return times;
}"""
EVENTS = {"type": _TYPE, "filter": _FILTER, "bulk": _BULK, "undo": _UNDO, "scroll": _SCROLL}


def make_zip(path: Path, count: int) -> None:
    """Distinct small pictures, half of them with captions."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            data = io.BytesIO()
            coarse.resize((256, 192 + 64 * (i % 3))).save(data, "JPEG", quality=90)
            archive.writestr(f"picture {i:04}.jpg", data.getvalue())
            if i % 2:
                archive.writestr(f"picture {i:04}.txt", f"caption {i}")


def told(name: str, times: Sequence[float]) -> str:
    """p50, p95 and the longest, in milliseconds."""
    if not times:
        return f"{name:<28} none"
    ordered = sorted(times)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    middle = statistics.median(ordered)
    return f"{name:<28} n {len(ordered):>4}  p50 {middle:6.1f}  p95 {p95:6.1f}  max {ordered[-1]:6.1f} ms"


def measure(page: Page, archive: Path, count: int) -> None:
    """Import, then every kind of event; prints as it goes."""
    page.locator("#files input[type=file]").set_input_files(archive)
    expect(page.locator("#gallery .card")).to_have_count(count)
    print(told("long tasks of the import", page.evaluate("window.tasks.splice(0)")))
    everything: list[float] = []
    for name, script in EVENTS.items():
        times = page.evaluate(script)
        everything += times
        print(told(name, times))
    expect(page.locator('[data-part="saved"]')).to_have_attribute("data-state", "saved")
    print(told("every event", everything))
    print(told("long tasks of all of these", page.evaluate("window.tasks.splice(0)")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500)
    count = parser.parse_args().pictures
    expect.set_options(timeout=300_000)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        archive = Path(folder) / "pictures.zip"
        make_zip(archive, count)
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        with serve(Path(folder) / "workspace", Path(folder) / "server.log") as url:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(300_000)
            page.add_init_script(_WATCH)
            page.goto(url)
            page.locator("#use-example:enabled").wait_for()
            page.evaluate("window.tasks.splice(0)")
            measure(page, archive, count)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
