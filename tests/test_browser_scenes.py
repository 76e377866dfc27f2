"""The layout tab from example scenes to a ladder of two new boxes, in a real browser, on the bundled base."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser_parts import SLOW

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.long]
PREFIX = "#mmdit-layout-"
# Nothing of this is in the example scenes.
NEW = {"a bicycle": (0.08, 0.1, 0.5, 0.5), "a penguin": (0.55, 0.45, 0.95, 0.95)}


def at(page: Page, name: str) -> Locator:
    return page.locator(PREFIX + name)


def part(page: Page, name: str) -> Locator:
    return page.locator(f'{PREFIX}ladder [data-part="{name}"]')


def shows_the_new_boxes(page: Page) -> None:
    """The ladder is of the two new boxes, and what was found in each is told for every strength."""
    expect(part(page, "adapter-boxes").locator("rect")).to_have_count(len(NEW), timeout=SLOW)
    for caption in NEW:
        expect(part(page, "adapter-boxes")).to_contain_text(caption)
        row = part(page, "found").get_by_role("row", name=re.compile(caption))
        expect(row.get_by_role("cell")).to_have_count(7)
    expect(part(page, "zero")).to_contain_text("none differs", timeout=SLOW)
    assert part(page, "adapter").get_attribute("src") != part(page, "base").get_attribute("src")


def test_by_mouse(page: Page) -> None:
    page.get_by_role("tab", name="Layout (boxes)").click()
    at(page, "use-example:enabled").click()
    expect(at(page, "report")).to_contain_text("18 pictures ready")
    for field, value in {"train-steps": 6, "train-batch-size": 2}.items():
        at(page, f"set-{field} input").fill(str(value))
    at(page, "train").click()
    expect(at(page, "status [data-state]")).to_have_attribute("data-state", "finished", timeout=SLOW)
    # The boxes of a picture of the set stand there to begin with.
    canvas = at(page, "canvas")
    expect(canvas.locator(".region").first).to_be_visible(timeout=SLOW)
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    while canvas.locator(".region-delete").count():
        canvas.locator(".region-delete").first.click()
    canvas.locator(".region-surface").scroll_into_view_if_needed()
    for number, (caption, (left, top, right, bottom)) in enumerate(NEW.items()):
        place = canvas.locator(".region-surface").bounding_box()
        assert place
        x, y, side = place["x"], place["y"], place["width"]
        page.mouse.move(x + left * side, y + top * side)
        page.mouse.down()
        page.mouse.move(x + right * side, y + bottom * side, steps=4)
        page.mouse.up()
        canvas.locator(".region-list input[type=text]").nth(number).fill(caption)
    at(page, "prompt textarea").fill("a bicycle and a penguin, noto")
    at(page, "show").click()
    shows_the_new_boxes(page)


def test_by_keyboard_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})

    def press(found: Locator, key: str = "Enter") -> None:
        found.focus()
        page.keyboard.press(key)

    def write(found: Locator, text: str) -> None:
        press(found, "Control+A")
        page.keyboard.type(text)

    press(page.get_by_role("button", name="More tabs"))
    press(page.get_by_role("button", name="Layout (boxes)"))
    press(at(page, "use-example:enabled"))
    expect(at(page, "report")).to_contain_text("18 pictures ready")
    write(at(page, "set-train-steps input"), "6")
    write(at(page, "set-train-batch-size input"), "2")
    press(at(page, "train"))
    expect(at(page, "status [data-state]")).to_have_attribute("data-state", "finished", timeout=SLOW)
    canvas = at(page, "canvas")
    expect(canvas.locator(".region").first).to_be_visible(timeout=SLOW)
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    while canvas.locator(".region").count():
        press(canvas.locator(".region").first, "Delete")
    for caption in NEW:
        press(canvas.locator(".region-add"))
        # The new box has the focus: it is moved by arrows, and Enter goes to its caption.
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.keyboard.type(caption)
    write(at(page, "prompt textarea"), "a bicycle and a penguin, noto")
    press(at(page, "show"))
    shows_the_new_boxes(page)
    before = part(page, "slider").input_value()
    press(part(page, "slider"), "ArrowLeft")
    expect(part(page, "slider")).not_to_have_value(before)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
