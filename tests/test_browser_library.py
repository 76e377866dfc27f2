"""The library in a real browser: a file of another tool is imported, tried, renamed, taken home and deleted."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.numpy import load

from tests.browser_parts import SLOW, open_tab_on_phone, visit

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def foreign(tiny_base: Callable[[str], Path], pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kohya file of a tool that does not name the base."""
    from tests.library_parts import make_foreign, make_run

    folder = tmp_path_factory.mktemp("foreign")
    return make_foreign(folder, make_run(folder / "run", tiny_base("sd1"), pictures))


def open_library(page: Page) -> None:
    page.get_by_role("tab", name="Library", exact=True).click()
    expect(page.locator("#library-files")).to_be_visible()


def bring(page: Page, file: Path) -> None:
    page.locator("#library-files input[type=file]").set_input_files(file)


@pytest.mark.long
def test_a_file_of_another_tool(
    page: Page,
    browser: Browser,
    url: str,
    foreign: Path,
    tiny_base: Callable[[str], Path],
) -> None:
    open_library(page)
    expect(page.locator("#shelf")).to_contain_text("Nothing here yet")
    bring(page, foreign)
    expect(page.locator("#library-problems")).to_contain_text("does not say which base", timeout=SLOW)
    base = page.locator("#library-base input")
    base.fill(str(tiny_base("sd1")))
    base.press("Enter")
    page.locator("#library-bring").click()
    card = page.locator("#shelf .card")
    expect(card).to_contain_text("Foxes", timeout=SLOW)
    for words in (tiny_base("sd1").name, "rank 2", "fox", "foxes.safetensors"):
        expect(card).to_contain_text(words)

    try_it(page)
    rename_and_reload(page)
    with page.expect_download(timeout=SLOW) as download:
        page.locator("#library-download-kohya").click()
    assert all(key.startswith("lora_unet_") for key in load(Path(download.value.path()).read_bytes()))
    no_faults_in_either_theme(page)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    with visit(browser, url) as other:
        open_library(other)
        expect(other.locator("#shelf")).to_contain_text("Nothing here yet")
        expect(other.locator("#shelf .card")).to_have_count(0)

    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#library-delete").click()
    expect(card).to_have_count(0)
    expect(page.locator("#library-detail")).to_be_hidden()


def try_it(page: Page) -> None:
    """The imported adapter moves the picture; what the ladder shows becomes the cover."""
    page.locator("#library-prompt textarea").fill("disc 1")
    page.locator("#library-preview-settings > button").click()
    page.locator("#library-preview-steps input").fill("2")
    page.locator("#library-show").click()
    slider = page.locator("#library-ladder .slider input")
    expect(slider).to_be_visible(timeout=SLOW)
    picture = page.locator('#library-ladder img[data-part="adapter"]')
    base = page.locator('#library-ladder img[data-part="base"]').get_attribute("src")
    assert base and picture.get_attribute("src") != base
    page.locator("#library-cover").click()
    expect(page.locator("#shelf .card img")).to_have_attribute("src", re.compile("^data:image/jpeg"))


def rename_and_reload(page: Page) -> None:
    page.locator("#library-title input, #library-title textarea").fill("Ink – 狐 <b>")
    page.locator("#library-rename").click()
    expect(page.locator("#shelf .card .title")).to_have_text("Ink – 狐 <b>")
    page.reload()
    open_library(page)
    expect(page.locator("#shelf .card .title")).to_have_text("Ink – 狐 <b>")
    expect(page.locator("#library-title input, #library-title textarea")).to_have_value("Ink – 狐 <b>")


# Colours change over a moment: what is looked at is what they become.
THEME = """async (dark) => {
  document.body.classList.toggle("dark", dark);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  await Promise.all(document.getAnimations().filter((a) => a instanceof CSSTransition).map((a) => a.finished));
}"""


def no_faults_in_either_theme(page: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # Of Gradio's own making: roles on its upload area, the picture in its footer.
    ignored = {"aria-prohibited-attr", "nested-interactive", "image-redundant-alt"}
    for dark in (False, True):
        page.evaluate(THEME, dark)
        found = axe.run(page).response["violations"]
        told = [(f["id"], [n["html"][:150] for n in f["nodes"]]) for f in found if f["id"] not in ignored]
        assert not told, f"dark: {dark}"


def test_a_pickle_is_a_sentence_in_chinese_too(browser: Browser, url: str, tmp_path: Path) -> None:
    """Also on the Chinese page, and on a phone."""
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps([1.0] * 10))
    with visit(browser, url) as page:
        page.goto(f"{url}zh")
        page.set_viewport_size({"width": 390, "height": 844})
        open_tab_on_phone(page, "适配器库")
        expect(page.locator("#shelf")).to_contain_text("这里还是空的")
        bring(page, path)
        expect(page.locator("#library-problems")).to_contain_text("weights.pt", timeout=SLOW)
        expect(page.locator("#shelf .card")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
