"""The frame around the tabs in a real browser: languages, light and dark, widths, the trust panel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser_parts import SLOW, settle, state, visit

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = pytest.mark.browser


def switch(page: sync_api.Page, name: str) -> None:
    page.locator(f'#head [data-part="{name}"]').click()


def is_dark(page: sync_api.Page) -> bool:
    return bool(page.evaluate("document.body.classList.contains('dark')"))


def test_languages_keep_the_run_and_the_theme_and_are_remembered(page: sync_api.Page, url: str) -> None:
    expect(page.locator("nav.nav-holder, .nav-holder").first).to_be_hidden()
    run = "0" * 32
    page.evaluate(f"window.history.replaceState(null, '', '?run={run}')")
    switch(page, "theme")
    assert is_dark(page)
    switch(page, "language")
    expect(page).to_have_url(re.compile(rf"/zh\?lang=zh&run={run}&__theme=dark"))
    expect(page.locator("#use-example")).to_be_enabled()
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    assert is_dark(page)
    expect(page.locator("#train")).to_have_text("开始训练")
    # Without a word in the address: the language from the cookie, the theme from the storage.
    page.goto(url)
    expect(page).to_have_url(re.compile(r"/zh\?__theme=dark"))
    switch(page, "theme")
    assert not is_dark(page)
    switch(page, "language")
    expect(page.locator("#train")).to_have_text("Train")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert not is_dark(page)


def test_a_chinese_browser_gets_the_chinese_page(browser: sync_api.Browser, url: str) -> None:
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#train")).to_have_text("开始训练")
    switch(page, "language")
    expect(page.locator("#train")).to_have_text("Train")
    page.goto(url)
    expect(page.locator("#train")).to_have_text("Train")
    context.close()


@pytest.mark.long
def test_a_run_from_start_to_file_in_chinese(
    browser: sync_api.Browser, url: str, tiny_base: Callable[[str], Path]
) -> None:
    with visit(browser, url) as page:
        page.goto(f"{url}zh?lang=zh")
        page.locator("#use-example").click()
        expect(page.locator("#gallery img")).to_have_count(18)
        settle(page, tiny_base("sd1"), **{"train-steps": 4})
        page.locator("#train").click()
        expect(state(page, "finished")).to_be_visible(timeout=SLOW)
        expect(page.locator("#status")).to_contain_text("完成")
        page.locator("#prompt textarea").fill("a fox")
        page.locator("#show").click()
        expect(page.locator("#ladder [data-part=slider]")).to_be_visible(timeout=SLOW)
        with page.expect_download(timeout=SLOW) as download:
            page.locator("#download-kohya").click()
        assert download.value.suggested_filename.endswith(".safetensors")


def test_delete_my_data_asks_and_then_deletes(page: sync_api.Page, workspace: Path) -> None:
    page.locator("#use-example").click()
    expect(page.locator("#gallery img")).to_have_count(18)
    before = set((workspace / "visitors").iterdir())
    page.locator("#trust > button").click()
    expect(page.locator("#used")).to_contain_text("You have used")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#forget").click()
    expect(page.locator("#gallery img")).to_have_count(18)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#forget").click()
    expect(page.locator("#gallery img")).to_have_count(0)
    expect(page.locator("#use-example")).to_be_enabled()
    after = set((workspace / "visitors").iterdir())
    assert len(before - after) == 1


# 720 at twice the pixels is 1440 at 200 % zoom.
@pytest.mark.parametrize(("width", "zoom"), [(1440, 1), (1024, 1), (390, 2), (720, 2)])
def test_nothing_is_wider_than_the_window(browser: sync_api.Browser, url: str, width: int, zoom: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, device_scale_factor=zoom)
    page = context.new_page()
    for path in ("", "zh"):
        page.goto(f"{url}{path}?lang={path or 'en'}")
        expect(page.locator("#use-example")).to_be_enabled()
        page.locator("#trust > button").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_the_keyboard_shows_where_it_is(page: sync_api.Page) -> None:
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate("""() => {
            const style = getComputedStyle(document.activeElement);
            return [document.activeElement.tagName, parseFloat(style.outlineWidth) || 0, style.outlineStyle];
        }""")
        assert outline[0] == "BODY" or (outline[1] >= 2 and outline[2] != "none"), outline
