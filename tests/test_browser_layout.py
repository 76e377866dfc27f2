"""The tab of the family that reads boxes, in a real browser: beside that of another family, with a trained adapter."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines import worker
from pipelines.events import Finished
from tests.browser_parts import SLOW, visit
from tests.layout_parts import configured

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def trained(tiny_base: Callable[[str], Path], layouts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    run = tmp_path_factory.mktemp("trained") / "run"
    config = configured(tiny_base("layout"), layouts, steps=4)
    worker.start(replace(config, train=replace(config.train, learning_rate=0.05)), run)
    assert isinstance(list(worker.run(run))[-1], Finished)
    return run


@pytest.fixture
def page(browser: Browser, url: str, workspace: Path, trained: Path) -> Iterator[Page]:
    """The page of a visitor who opens the address of that run."""
    known = set(workspace.glob("visitors/*"))
    with visit(browser, url) as page:
        (visitor,) = set(workspace.glob("visitors/*")) - known
        name = secrets.token_hex(16)
        shutil.copytree(trained, visitor / "runs" / name)
        page.goto(f"{url}?run={name}")
        yield page


def part(page: Page, name: str) -> Locator:
    return page.locator(f'#mmdit-layout-ladder [data-part="{name}"]')


def captions(page: Page) -> Locator:
    return page.locator("#mmdit-layout-canvas .region-list input[type=text]")


def test_boxes_are_drawn_and_captioned_and_lie_over_the_pictures(page: Page) -> None:
    # The address of a run opens the tab of its family, with the boxes of a picture it was trained on.
    expect(page.get_by_role("tab", name="Layout (boxes)")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#mmdit-layout-status [data-state]")).to_have_attribute("data-state", "finished")
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    given = captions(page).count()
    assert given > 0
    expect(part(page, "base-boxes").locator("rect")).to_have_count(given)
    unasked = part(page, "adapter").get_attribute("src") or ""

    # By keyboard: another box, its caption, and the picture.
    page.locator("#mmdit-layout-canvas .region-add").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.type("a square <b>x</b>")
    page.locator("#mmdit-layout-preview-settings > button").click()
    page.locator("#mmdit-layout-preview-steps input").fill("2")
    page.locator("#mmdit-layout-show").click()
    expect(part(page, "adapter-boxes").locator("rect")).to_have_count(given + 1, timeout=SLOW)
    expect(part(page, "adapter-boxes")).to_contain_text(f"{given + 1} a square <b>x</b>")
    expect(part(page, "adapter")).not_to_have_attribute("src", unasked)
    expect(part(page, "zero")).to_contain_text("none differs", timeout=SLOW)

    # What is sent back of the request is the same request: the exact picture arrives.
    part(page, "slider").fill("0.3")
    expect(part(page, "kind")).to_have_text("Exact: drawn at this strength just now.", timeout=SLOW)

    overlay = part(page, "overlay")
    overlay.get_by_role("button", name="Boxes alone").click()
    expect(part(page, "base")).to_have_css("visibility", "hidden")
    expect(part(page, "base-boxes")).to_be_visible()
    overlay.get_by_role("button", name="Picture", exact=True).click()
    expect(part(page, "base")).to_be_visible()
    expect(part(page, "base-boxes")).to_be_hidden()


@pytest.mark.parametrize("path", ["?__theme=light&run=", "zh?__theme=dark&run="])
def test_no_accessibility_faults(page: Page, url: str, path: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.goto(f"{url}{path}{page.url.partition('run=')[2]}")
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    page.locator("#mmdit-layout-preview-settings > button").click()
    expect(page.locator("#mmdit-layout-layout-scale input")).to_be_visible()
    for context in ("ladder", "canvas", "editor", "layout-scale", "layout-until"):
        found = axe.run(page, context=f"#mmdit-layout-{context}").response["violations"]
        assert not [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in found]


def test_boxes_count_as_much_as_is_asked_for(page: Page) -> None:
    """A scale of 0 draws what no boxes draw; a number out of bounds is told, and the ladder stays."""
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    page.locator("#mmdit-layout-preview-settings > button").click()
    shown = part(page, "base").get_attribute("src") or ""
    page.locator("#mmdit-layout-layout-scale input").fill("0")
    page.locator("#mmdit-layout-show").click()
    expect(part(page, "base")).not_to_have_attribute("src", shown, timeout=SLOW)
    page.locator("#mmdit-layout-layout-until input").fill("400")
    page.locator("#mmdit-layout-show").click()
    expect(page.locator("#mmdit-layout-preview-problems")).to_contain_text("layout_until is 400")
    expect(part(page, "slider")).to_be_visible()


def test_the_boxes_of_a_picture_are_taken_over(page: Page) -> None:
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    first = page.locator("#mmdit-layout-prompt textarea").input_value()
    page.locator("#mmdit-layout-layout-of input").click()
    page.get_by_role("option").nth(1).click()
    prompt = page.locator("#mmdit-layout-prompt textarea")
    expect(prompt).not_to_have_value(first)
    expect(captions(page).first).not_to_have_value("")


def test_each_family_has_its_own_run_and_pictures(page: Page) -> None:
    expect(page.locator("#mmdit-layout-status [data-state]")).to_have_attribute("data-state", "finished")
    page.get_by_role("tab", name="Stable Diffusion").click()
    expect(page.locator("#status")).to_be_visible()
    expect(page.locator("#status [data-state]")).to_have_count(0)
    expect(page.locator("#canvas")).to_have_count(0)
    assert re.search(r"run=[0-9a-f]{32}", page.url)


def test_it_fits_a_phone(page: Page) -> None:
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(part(page, "overlay")).to_be_visible()
