"""Asking an adapter in a real browser: a really trained one of a tiny language model that sees, in the library."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines import worker
from pipelines.events import Finished
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession
from tests.browser_parts import SLOW, is_of_the_ladder
from tests.test_browser_library import no_faults_in_either_theme, open_library
from tests.vora_parts import SMALL, make_pictures, vora_config

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser
PREFIX = "#library-words-"


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def trained(tiny_base: Callable[[str], Path], colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    run = tmp_path_factory.mktemp("trained") / "run"
    worker.start(vora_config(tiny_base("llm"), colours, learning_rate=0.05, warmup=0), run)
    assert isinstance(list(worker.run(run))[-1], Finished)
    return run


def part(page: Page, name: str) -> Locator:
    return page.locator(f'{PREFIX}answers [data-part="{name}"]')


def said(page: Page, name: str) -> Locator:
    return part(page, name).locator(".said")


def open_run(page: Page, workspace: Path, trained: Path) -> None:
    """A visitor who has that run opens it in the library."""
    known = set(workspace.glob("visitors/*/datasets/*/metadata.jsonl"))
    page.locator("#use-example").click()
    expect(page.locator("#report")).to_contain_text("18 pictures ready")
    (written,) = set(workspace.glob("visitors/*/datasets/*/metadata.jsonl")) - known
    shutil.copytree(trained, written.parents[2] / "runs" / secrets.token_hex(16))
    open_library(page)
    page.locator("#shelf .card").click()
    expect(page.locator(f"{PREFIX}show")).to_be_enabled()


def test_ask_about_a_picture_and_move_the_slider(
    page: Page, workspace: Path, trained: Path, colours: Path, tiny_base: Callable[[str], Path]
) -> None:
    open_run(page, workspace, trained)
    expect(page.locator("#library-prompt")).to_be_hidden()
    expect(page.locator("#library-cover")).to_be_hidden()
    page.locator(f"{PREFIX}picture input").set_input_files(colours / "red.png")
    expect(page.locator(f"{PREFIX}picture img")).to_be_visible()
    page.locator(f"{PREFIX}prompt textarea").fill("What is this?")
    page.locator(f"{PREFIX}preview-settings > button").click()
    page.locator(f"{PREFIX}max-tokens input").fill("12")
    page.locator(f"{PREFIX}show").click()
    expect(part(page, "zero")).to_contain_text("none differs", timeout=SLOW)

    session = PreviewSession("vora", str(tiny_base("llm")), SMALL)
    request = PreviewRequest("What is this?", max_tokens=12, picture=(colours / "red.png").read_bytes())
    adapter = trained / "adapter" / "adapter.safetensors"
    *_, (zero, half, between, one) = session.answers(adapter, request, (0, 0.5, 0.55, 1))
    for name, answer in (("base", zero), ("with", one)):
        expect(said(page, name)).to_have_text(answer.text, use_inner_text=True)
    expect(part(page, "with-title")).to_have_text("With the adapter at 1.00")
    expect(page.locator(f"{PREFIX}answers .rung")).to_have_count(7)
    if not one.ended:
        expect(part(page, "with")).to_contain_text("Cut after 12 tokens")

    # Every rung without the server; between two of them the nearest, and at rest the exact one.
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if is_of_the_ladder(request) else None)
    page.get_by_role("button", name="Strength 0.50").click()
    expect(said(page, "with")).to_have_text(half.text, use_inner_text=True)
    assert asked == []
    part(page, "slider").focus()
    page.keyboard.press("ArrowRight")
    expect(part(page, "value")).to_have_text("0.55")
    expect(part(page, "kind")).to_have_text("Exact: answered at this strength just now.", timeout=SLOW)
    expect(said(page, "with")).to_have_text(between.text, use_inner_text=True)
    assert asked

    # How sure it was, for eyes and for readers of the screen.
    page.get_by_role("button", name="Show how sure it was").click()
    page.get_by_role("button", name="Mark what is new").click()
    expect(part(page, "sure-legend")).to_be_visible()
    tokens = said(page, "with").get_by_role("listitem")
    expect(tokens).to_have_count(len(between.tokens))
    expect(tokens.first).to_have_attribute("title", f"{round(100 * between.tokens[0][1])} %")
    expect(part(page, "base")).to_contain_text("Least sure of")
    no_faults_in_either_theme(page)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_whoever_asks_again_does_not_wait(page: Page, workspace: Path, trained: Path) -> None:
    open_run(page, workspace, trained)
    question, show = page.locator(f"{PREFIX}prompt textarea"), page.locator(f"{PREFIX}show")
    page.locator(f"{PREFIX}preview-settings > button").click()
    question.fill("What is long?")
    page.locator(f"{PREFIX}max-tokens input").fill("160")
    show.click()
    expect(said(page, "base")).not_to_be_empty(timeout=SLOW)
    page.locator(f"{PREFIX}max-tokens input").fill("3")
    question.fill("What is short?")
    question.press("Enter")
    expect(part(page, "of")).to_have_text("What is short?", timeout=SLOW)
    expect(part(page, "zero")).to_contain_text("none differs", timeout=SLOW)
    expect(part(page, "wait")).to_be_empty()
