"""The dataset editor in a real browser: typing, undo, many captions at once, imports, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.browser_parts import visit
from tests.data_parts import make_folder, make_zip, png
from tests.web_parts import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser


def bring(page: Page, *files: Path) -> None:
    page.locator("#files input[type=file]").set_input_files(list(files))


def cards(page: Page) -> Locator:
    return page.locator("#gallery .card")


def caption(page: Page, name: str) -> Locator:
    return page.get_by_label(f"Caption of {name}", exact=True)


def saved(page: Page) -> None:
    """Wait until the server has everything."""
    expect(page.locator('[data-part="saved"]')).to_have_attribute("data-state", "saved")


def stored(workspace: Path) -> dict[str, str]:
    """What a run would copy now, from the newest dataset there is."""
    newest = max(workspace.glob("visitors/*/datasets/*/metadata.jsonl"), key=lambda path: path.stat().st_mtime)
    rows = [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]
    return {row["name"]: row["caption"] for row in rows}


@pytest.fixture
def thirty(tmp_path: Path) -> list[Path]:
    return [make_folder(tmp_path / "set", {f"p{i:02}.png": png(i * 8)}) / f"p{i:02}.png" for i in range(30)]


def test_thirty_captions_survive_a_reload(page: Page, workspace: Path, thirty: list[Path]) -> None:
    bring(page, *thirty)
    expect(cards(page)).to_have_count(30)
    caption(page, "p00.png").focus()
    for i in range(30):
        page.keyboard.insert_text(f"picture {i} <b>ü 猫")
        # A caption is one line: Enter goes on to the next.
        page.keyboard.press("Enter")
    # At once, while the last of it is not saved yet.
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(cards(page)).to_have_count(30)
    for i in (0, 17, 29):
        expect(caption(page, f"p{i:02}.png")).to_have_value(f"picture {i} <b>ü 猫")
    saved(page)
    assert stored(workspace) == {f"p{i:02}.png": f"picture {i} <b>ü 猫" for i in range(30)}


def test_undo_and_many_captions_at_once(page: Page, workspace: Path, thirty: list[Path]) -> None:
    bring(page, *thirty[:4])
    first, second = caption(page, "p00.png"), caption(page, "p01.png")
    first.fill("a red fox")
    second.fill("a fox, tok")
    page.get_by_text("Change many captions").click()
    kind, text = page.get_by_label("What to do"), page.get_by_label("Text", exact=True)
    apply = page.get_by_role("button", name="Apply to")
    expect(apply).to_have_text("Apply to 4 pictures")
    text.fill("tok")
    apply.click()
    expect(first).to_have_value("tok, a red fox")
    expect(second).to_have_value("a fox, tok")
    expect(caption(page, "p02.png")).to_have_value("tok")
    page.get_by_label("Select p00.png").check()
    expect(apply).to_have_text("Apply to 1 pictures")
    kind.select_option("replace")
    text.fill("fox")
    page.get_by_label("Replace with").fill("cat")
    apply.click()
    expect(first).to_have_value("tok, a red cat")
    expect(second).to_have_value("a fox, tok")
    kind.select_option("suffix")
    text.fill("on white")
    apply.click()
    expect(first).to_have_value("tok, a red cat on white")
    saved(page)
    assert stored(workspace)["p00.png"] == "tok, a red cat on white"
    undo, redo = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Redo")
    for value in ("tok, a red cat", "tok, a red fox", "a red fox"):
        undo.click()
        expect(first).to_have_value(value)
    expect(caption(page, "p02.png")).to_have_value("")
    second.press("Control+z")
    expect(second).to_have_value("")
    redo.click()
    expect(second).to_have_value("a fox, tok")

    page.get_by_role("button", name="Remove selected").click()
    expect(cards(page)).to_have_count(3)
    saved(page)
    assert "p00.png" not in stored(workspace)
    undo.click()
    expect(first).to_have_value("a red fox")
    saved(page)
    assert stored(workspace) == {"p00.png": "a red fox", "p01.png": "a fox, tok", "p02.png": "", "p03.png": ""}


def test_a_zip_a_folder_captions_and_duplicates(page: Page, tmp_path: Path) -> None:
    Image.effect_mandelbrot((80, 60), (-2, -1, 1, 1), 50).convert("RGB").save(tmp_path / "m.png")
    mandelbrot = (tmp_path / "m.png").read_bytes()
    archive = make_zip(tmp_path / "set.zip", {"a/one.png": png(3), "a/one.txt": "from the zip", "a/m.png": mandelbrot})
    bring(page, archive)
    expect(caption(page, "a/one.png")).to_have_value("from the zip")
    expect(caption(page, "a/m.png")).to_have_value("")

    Image.open(tmp_path / "m.png").resize((160, 120)).save(tmp_path / "zz.jpg", quality=85)
    folder = make_folder(tmp_path / "folder", {"zz.jpg": (tmp_path / "zz.jpg").read_bytes(), "zz.caption": "again"})
    page.locator('[data-part="folder-input"]').set_input_files(folder)
    expect(caption(page, "zz.jpg")).to_have_value("again")
    expect(cards(page).filter(has=page.get_by_label("Caption of zz.jpg"))).to_contain_text("duplicate")
    page.locator("#editor-filter").select_option("duplicate")
    expect(page.locator("#gallery .card:visible")).to_have_count(1)
    page.locator("#editor-filter").select_option("all")

    late = make_folder(tmp_path / "late", {"m.txt": "<img src=x onerror='window.hit=1'>", "one.txt": "late"})
    bring(page, late / "m.txt", late / "one.txt")
    expect(caption(page, "a/m.png")).to_have_value("<img src=x onerror='window.hit=1'>")
    expect(caption(page, "a/one.png")).to_have_value("from the zip")
    expect(page.locator("#report")).to_contain_text("kept the caption they had: 1")
    assert page.evaluate("window.hit") is None


def test_the_keyboard_goes_everywhere(page: Page, thirty: list[Path]) -> None:
    bring(page, *thirty[:6])
    expect(cards(page)).to_have_count(6)
    look = [page.get_by_role("button", name=f"Look at p{i:02}.png") for i in range(6)]
    look[0].focus()
    page.keyboard.press("ArrowRight")
    expect(look[1]).to_be_focused()
    page.keyboard.press("End")
    expect(look[5]).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    expect(look[2]).to_be_focused()
    page.keyboard.press("Enter")
    stage = page.get_by_role("dialog")
    expect(stage).to_be_visible()
    expect(stage).to_contain_text("p02.png")
    expect(stage).to_contain_text("24 × 16 pixels")
    expect(stage).to_contain_text("Trained at")
    # This family learns no boxes.
    expect(page.locator(".region-layer")).to_have_count(0)
    stage.get_by_label("Caption", exact=True).fill("close up")
    page.keyboard.press("Escape")
    expect(look[2]).to_be_focused()
    expect(caption(page, "p02.png")).to_have_value("close up")
    page.keyboard.press("Delete")
    expect(cards(page)).to_have_count(5)
    page.keyboard.press("Control+z")
    expect(caption(page, "p02.png")).to_have_value("close up")


def test_without_the_server_nothing_is_lost(browser: Browser, url: str, workspace: Path, thirty: list[Path]) -> None:
    server = "**/component_server**"
    with visit(browser, url, ignored=("Failed to load resource",)) as page:
        bring(page, thirty[0])
        expect(cards(page)).to_have_count(1)
        page.route(server, lambda route: route.abort())
        caption(page, "p00.png").fill("typed in a tunnel")
        expect(page.locator('[data-part="saved"]')).to_have_attribute("data-state", "failed")
        page.locator("#train").click()
        expect(page.locator("#problems")).to_contain_text("could not be saved")
        page.unroute(server)
        saved(page)
        assert stored(workspace) == {"p00.png": "typed in a tunnel"}


def test_two_visitors_have_their_own(page: Page, browser: Browser, url: str, thirty: list[Path]) -> None:
    bring(page, thirty[0])
    expect(cards(page)).to_have_count(1)
    with visit(browser, url) as other:
        expect(cards(other)).to_have_count(0)
        bring(other, thirty[0])
        caption(other, "p00.png").fill("mine")
        saved(other)
    page.reload()
    expect(caption(page, "p00.png")).to_have_value("")


@pytest.mark.parametrize("path", ["?__theme=dark", "zh"])
def test_no_accessibility_faults_in_the_editor(page: Page, url: str, path: str, thirty: list[Path]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}{path}")
    page.locator("#use-example").click()
    expect(cards(page)).to_have_count(18)
    for fold in page.locator("#editor details summary").all():
        fold.click()
    page.locator('[data-part="crops"]').check()
    wait_for(lambda: page.locator("#gallery .crop:visible").count() == 18, "the frames")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for looking_closer in (False, True):
        if looking_closer:
            page.locator("#gallery .thumb").first.click()
        found = axe.run(page, context="#editor").response["violations"]
        assert not [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in found]
