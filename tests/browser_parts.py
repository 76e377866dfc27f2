"""What the tests in a real browser share: the browser, a served page, a new visitor on it, what the page shows."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web_parts import PATIENCE, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request

SLOW = PATIENCE * 1000
# Said by Gradio itself: when it draws a plot, when it uploads, and when a page is left while it listens to the server.
CONSOLE_IGNORED = (
    "Vega-Lite",
    "Method not implemented",
    "signal is aborted",
    "Connection errored out",
    "Failed to fetch",
)


def chromium() -> str:
    """The browser to drive. Without one the tests are skipped, except in CI, where they fail."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        if os.environ.get("CI"):
            pytest.fail("no chromium was found; install it or name it in CHROMIUM")
        pytest.skip("no chromium was found; install it or name it in CHROMIUM")
    return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser") / "workspace"


@pytest.fixture(scope="module")
def url(workspace: Path) -> Iterator[str]:
    chromium()
    with serve(workspace, workspace.parent / "server.log") as url:
        yield url
    end_runs(workspace)


def end_runs(workspace: Path) -> None:
    """End what training is left in a workspace that is no longer served."""
    from lora_web.runs import Supervisor
    from lora_web.workspace import Workspace

    last = Supervisor(Workspace(workspace))
    for run in last.workspace.run_folders():
        last.discard(run)
    last.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api")
    # A page that answers in a second does so in twenty when other programs want the same two cores.
    sync_api.expect.set_options(timeout=60_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A new visitor on the page. Errors in the page and requests to other machines fail the test."""
    with visit(browser, url) as page:
        yield page


@contextmanager
def visit(browser: Browser, url: str, ignored: tuple[str, ...] = (), path: str = "") -> Iterator[Page]:
    """A new visitor; `ignored` are further parts of messages that are no fault here, `path` is where on the site."""
    # Without a GPU every frame of an animation is drawn by the cores that train.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    faults: list[str] = []

    def told(kind: str, text: str) -> None:
        if not any(known in text for known in ignored):
            faults.append(f"{kind}: {text}")

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: told("page error", str(error)))
        page.on("console", lambda m: told(f"console {m.type}", m.text) if is_fault(m) else None)
        page.on("request", lambda r: faults.append(f"request to {r.url}") if is_foreign(r.url, url) else None)

    context.on("page", watch)
    page = context.new_page()
    page.goto(url + path)
    page.locator("#use-example:enabled").wait_for(state="attached")
    yield page
    context.close()
    assert not faults, "\n".join(faults)


def is_fault(message: ConsoleMessage) -> bool:
    return message.type in ("error", "warning") and not any(known in message.text for known in CONSOLE_IGNORED)


def is_foreign(address: str, url: str) -> bool:
    return not address.startswith((url, "data:", "blob:"))


def is_of_the_ladder(request: Request) -> bool:
    """Whether the ladder asks the server something; the page's own timer asks on, without an event of its own."""
    return "/queue/join" in request.url and bool((request.post_data_json or {}).get("event_data"))


def open_tab_on_phone(page: Page, name: str) -> None:
    """Choose one of the tabs for which a phone has no room."""
    page.locator(".overflow-menu > button").click()
    page.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True).click()


def settle(page: Page, base: Path, **settings: object) -> None:
    """Fill the form for a small run on a base of the tests."""
    page.locator("#advanced > button").click()
    name = page.locator("#set-base input")
    name.fill(str(base))
    name.press("Enter")
    values = {"data-resolution": 64, "train-batch-size": 2, "train-checkpoint-every": 5, "adapter-rank": 2, **settings}
    for field, value in values.items():
        page.locator(f"#set-{field} input").fill(str(value))
    page.locator("#advanced > button").click()


def step_of(page: Page) -> int:
    shown = page.locator("#status [data-step]")
    return int(shown.get_attribute("data-step") or 0) if shown.count() else 0


def state(page: Page, *names: str) -> Locator:
    return page.locator(", ".join(f'#status [data-state="{name}"]' for name in names))


def plot(page: Page) -> str:
    """What the loss plot looks like now."""
    marks = page.locator("#plot svg path, #plot canvas")
    return str(marks.evaluate_all("all => all.map((e) => e.toDataURL ? e.toDataURL() : e.getAttribute('d')).join()"))


def run_folder(workspace: Path, page: Page) -> Path:
    name = re.search(r"run=([0-9a-f]{32})", page.url)
    assert name
    (folder,) = workspace.glob(f"visitors/*/runs/{name[1]}")
    return folder
