"""The tabs of language models from example to answers at several strengths, in a real browser, on the bundled base."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser_parts import SLOW

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.long]
MANNER = "In plain words:"


class Tab:
    """One family's tab on a page."""

    def __init__(self, page: Page, title: str, prefix: str):
        self.page, self.prefix = page, prefix
        page.get_by_role("tab", name=title).click()

    def at(self, name: str) -> Locator:
        return self.page.locator(f"#{self.prefix}{name}")

    def part(self, name: str) -> Locator:
        return self.page.locator(f'#{self.prefix}answers [data-part="{name}"]')

    def train(self, **settings: int) -> None:
        for field, value in settings.items():
            self.at(f"set-train-{field.replace('_', '-')} input").fill(str(value))
        self.at("train:enabled").click()
        state = self.at("status [data-state]")
        expect(state).to_have_attribute("data-state", "finished", timeout=4 * SLOW)

    def answered(self) -> None:
        """All answers are there, and strength 0 was compared with the base."""
        expect(self.part("zero")).to_contain_text("none differs", timeout=SLOW)
        expect(self.page.locator(f"#{self.prefix}answers .rung")).to_have_count(7)


def test_a_model_learns_a_manner_of_answering(page: Page) -> None:
    tab = Tab(page, "Text", "text-llm-")
    tab.at("use-example-rows:enabled").click()
    expect(tab.at("rows-editor")).to_contain_text("144 rows ready")
    tab.at("preset-effort").get_by_label("Quick look").check()
    expect(tab.at("set-train-steps input")).to_have_value("60")
    tab.train()
    # A question of the set stands there and is answered without a click.
    expect(tab.at("prompt textarea")).not_to_have_value("", timeout=SLOW)
    tab.answered()
    tab.at("prompt textarea").fill("What is a horse?")
    tab.at("show").click()
    expect(tab.part("of")).to_have_text("What is a horse?", timeout=SLOW)
    tab.answered()
    expect(tab.part("with")).to_contain_text(MANNER)
    expect(tab.part("base")).not_to_contain_text(MANNER)
    with page.expect_download(timeout=SLOW) as taken:
        tab.at("download-peft").click()
    assert taken.value.suggested_filename.endswith("peft.zip")


def test_a_model_learns_to_see(page: Page) -> None:
    tab = Tab(page, "Seeing (VoRA)", "vora-")
    tab.at("use-example:enabled").click()
    expect(tab.at("report")).to_contain_text("138 pictures ready")
    expect(tab.at("rows-editor")).to_contain_text("45 questions ready")
    tab.train(steps=4, batch_size=4)
    # How far each block is from the teacher's.
    expect(tab.at("probe [data-block]")).to_have_count(8)
    # A picture of the set and a question about it stand there.
    expect(tab.at("picture img")).to_be_visible(timeout=SLOW)
    tab.answered()
    tab.at("strength-for").get_by_label("Image tokens only").check()
    tab.at("prompt textarea").fill("What do you see?")
    tab.at("show").click()
    expect(tab.part("of")).to_have_text("What do you see?", timeout=SLOW)
    tab.answered()
    with page.expect_download(timeout=SLOW) as taken:
        tab.at("download-diffusers").click()
    assert taken.value.suggested_filename.endswith(".safetensors")
