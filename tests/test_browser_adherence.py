"""What was found in the boxes, in a real browser: the ladder component, told what the server tells it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lora_web.previews import SPANS, plain, read_request
from lora_web.text import LANGUAGES, say, speaking, spoken
from lora_web.workspace import Workspace
from tests.browser_parts import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

gr = pytest.importorskip("gradio")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

CAPTIONS = ("a fox", "a quux <b>x</b>", "a house with a very long caption that does not fit into a narrow column")
FOUND = ([False, False, True, True, True, True, False], None, [True] * 7)


def picture(shade: int) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, shade, 200)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def messages() -> Iterator[dict[str, Any]]:
    """A ladder of three boxes, then what was found in them."""
    boxes = [{"box": [i / 3, 0.1, (i + 1) / 3 - 0.02, 0.9], "caption": caption} for i, caption in enumerate(CAPTIONS)]
    span, strengths = next(iter(SPANS.items()))
    request = plain(read_request("a fox", "", 0, 2, 4.0, boxes, 1, 100))
    images = [picture(30 * i) for i in range(len(strengths))]
    about: dict[str, Any] = {"of": "a", "about": "a", "span": span, "balance": {}, "groups": [], "request": request}
    measured: dict[str, Any] = {"curve": None, "recommended": None}
    yield {"kind": "ladder", "strengths": strengths, "images": images, "base": images[0], **about, **measured}
    yield {"kind": "adherence", "of": "a", "found": FOUND, "hint": say("adherence_unknown", boxes="2")}


@pytest.fixture(scope="module")
def url(workspace: Path) -> Iterator[str]:
    from lora_web import app
    from lora_web.ladder import ladder
    from lora_web.site import Site

    chromium()
    site = Site(Workspace(workspace))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(site.workspace.root / "served"))
        demo = app.Page(site)
        for code, path in LANGUAGES.items():
            with speaking(code), demo.route("Ladder", path, show_in_navbar=False) if path else demo:
                gr.Navbar(visible=False)
                demo.load(spoken(messages), None, [ladder("ladder")], show_progress="hidden")
        demo.queue(api_open=False)
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **app.launch_settings(demo, "127.0.0.1", None))
        yield url
        demo.close()
        site.supervisor.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def table(page: Page) -> Locator:
    return page.locator('#ladder [data-part="found"] table')


def test_each_box_has_a_verdict_for_each_strength(page: Page, url: str) -> None:
    page.goto(url)
    expect(table(page).locator("tbody tr")).to_have_count(2)
    expect(table(page).locator("tbody tr").first).to_have_text("1 a fox" + "not found" * 2 + "found" * 4 + "not found")
    expect(table(page).locator("tbody th").last).to_have_text(f"3 {CAPTIONS[2]}")
    expect(page.locator('#ladder [data-part="found-hint"]')).to_contain_text("Not measured: box 2")
    # The column of the picture that is shown is told apart, and none while two pictures are laid over each other.
    now = table(page).locator('[data-now="true"]')
    expect(now).to_have_text("1.00")
    page.locator('#ladder [data-part="slider"]').press("PageUp")
    expect(now).to_have_text("1.25")
    page.locator('#ladder [data-part="slider"]').press("ArrowRight")
    expect(now).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("path", ["?__theme=light", "zh?__theme=dark"])
def test_no_accessibility_faults(page: Page, url: str, path: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.goto(f"{url}{path}")
    expect(table(page)).to_be_visible()
    found = axe.run(page, context="#ladder").response["violations"]
    assert not [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in found]
