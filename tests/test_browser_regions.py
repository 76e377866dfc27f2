"""Boxes drawn in a real browser: with mouse, finger and keyboard; saved, undone, said aloud; on an empty square too."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lora_web.picture_desk import PictureDesk
from lora_web.workspace import Workspace
from tests.browser_parts import chromium, visit
from tests.data_parts import make_folder, png

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

gr = pytest.importorskip("gradio")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

# What a component of its own does to have an empty square to draw on.
CANVAS = """
const root = element.querySelector("div");
const changed = (regions) => { root.title = JSON.stringify(regions); };
loraWeb.drawRegions(root, { ...JSON.parse(root.dataset.options), longest: 50, changed });
"""
LEFT_HALF = {"box": [0.0, 0.0, 0.5, 1.0], "caption": "left"}


@pytest.fixture(scope="module")
def url(workspace: Path) -> Iterator[str]:
    """A page with the editor of a family that learns boxes, and an empty square, in both languages."""
    from lora_web import app
    from lora_web.editor import Editor
    from lora_web.regions import drawing
    from lora_web.site import Site
    from lora_web.text import LANGUAGES, speaking

    chromium()
    site = Site(Workspace(workspace))
    visitor = site.workspace.visitor(None)
    visitor.new_dataset()

    def whose(request: gr.Request) -> dict[str, str]:
        return {"visitor": visitor.token, "dataset": request.query_params.get("of") or visitor.new_dataset()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(site.workspace.root / "served"))
        demo = app.Page(site)
        for code, path in LANGUAGES.items():
            with speaking(code), demo.route("Boxes", path, show_in_navbar=False) if path else demo:
                gr.Navbar(visible=False)
                editor = Editor(site, "mmdit_layout", "openmoji")
                empty = f'<div data-options="{html.escape(json.dumps(drawing()))}"></div>'
                gr.HTML(html_template=empty, js_on_load=CANVAS, elem_id="canvas")
                demo.load(whose, None, [editor.component])
        demo.queue(api_open=False)
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **app.launch_settings(demo, "127.0.0.1", None))
        yield url
        demo.close()
        site.supervisor.close()


@pytest.fixture
def desk(workspace: Path, tmp_path: Path, url: str) -> PictureDesk:
    """A dataset of two pictures, 400 x 200 and 200 x 400."""
    (visitor,) = Workspace(workspace).known_visitors()
    desk = PictureDesk(visitor, visitor.new_dataset())
    desk.add([make_folder(tmp_path / "set", {"a.png": png(90, (400, 200)), "b.png": png(9, (200, 400))})])
    return desk


@pytest.fixture
def page(browser: Browser, url: str, desk: PictureDesk) -> Iterator[Page]:
    with visit(browser, url, path=f"?of={desk.folder.name}") as page:
        expect(page.locator("#gallery .card")).to_have_count(2)
        yield page


def look(page: Page, name: str = "a.png") -> Locator:
    """Open a picture large."""
    page.locator("#gallery .card").filter(has=page.get_by_label(f"Caption of {name}")).locator(".thumb").click()
    stage = page.get_by_role("dialog")
    expect(stage.locator("img")).to_have_js_property("complete", True)
    return stage


def point(layer: Locator, share: tuple[float, float]) -> tuple[float, float]:
    """Where on the screen a point of the picture is."""
    area = layer.bounding_box()
    assert area
    return area["x"] + share[0] * area["width"], area["y"] + share[1] * area["height"]


def drag(page: Page, layer: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, between two points of the picture given as shares."""
    to = point(layer, end)
    page.mouse.move(*point(layer, start))
    page.mouse.down()
    page.mouse.move(*to, steps=4)
    page.mouse.up()


def saved(page: Page, desk: PictureDesk, name: str = "a.png") -> list[dict[str, Any]]:
    """The regions a run would read, once the server has everything."""
    expect(page.locator('[data-part="saved"]')).to_have_attribute("data-state", "saved")
    (sample,) = (sample for sample in desk.samples() if sample.name == name)
    return [region.to_dict() for region in sample.regions]


def boxes(*regions: dict[str, Any]) -> list[Any]:
    """Compared as a hand draws: to a pixel or two."""
    return [pytest.approx(region["box"], abs=0.012) for region in regions]


def test_boxes_are_drawn_moved_resized_captioned_and_undone(page: Page, desk: PictureDesk) -> None:
    stage = look(page)
    layer, rows = stage.locator(".region-layer"), stage.locator(".region-list li")
    expect(stage.get_by_role("status")).to_have_text("No boxes yet.")
    drag(page, layer, (0.1, 0.2), (0.5, 0.6))
    expect(stage.get_by_label("Caption of box 1")).to_be_focused()
    page.keyboard.type("a red <b>fox")
    drag(page, layer, (0.9, 0.9), (0.6, 0.7))
    expect(rows).to_have_count(2)
    drag(page, layer, (0.3, 0.4), (0.4, 0.5))
    found = saved(page, desk)
    assert [region["box"] for region in found] == boxes({"box": [0.2, 0.3, 0.6, 0.7]}, {"box": [0.6, 0.7, 0.9, 0.9]})
    assert found[0]["caption"] == "a red <b>fox"
    # The first is still chosen: its corner, then its left side, which stops at the edge.
    drag(page, layer, (0.6, 0.7), (0.5, 0.6))
    drag(page, layer, (0.2, 0.45), (-0.3, 0.45))
    assert saved(page, desk)[0]["box"] == boxes({"box": [0, 0.3, 0.5, 0.6]})[0]
    # A click is no box; over another box, Shift draws.
    drag(page, layer, (0.8, 0.2), (0.801, 0.201))
    expect(rows).to_have_count(2)
    # Escape gives up what is being dragged, and closes nothing.
    page.mouse.move(*point(layer, (0.8, 0.2)))
    page.mouse.down()
    page.mouse.move(*point(layer, (0.9, 0.4)))
    expect(rows).to_have_count(3)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(rows).to_have_count(2)
    page.keyboard.down("Shift")
    drag(page, layer, (0.1, 0.4), (0.2, 0.5))
    page.keyboard.up("Shift")
    expect(rows).to_have_count(3)
    stage.get_by_role("button", name="Delete box 2").click()
    expect(rows).to_have_count(2)
    assert len(saved(page, desk)) == 2
    page.keyboard.press("Control+z")
    expect(rows).to_have_count(3)
    undo = stage.get_by_role("button", name="Undo")
    for count in (2, 2, 2, 2, 1, 1):
        undo.click()
        expect(rows).to_have_count(count)
    expect(stage.get_by_label("Caption of box 1")).to_have_value("")
    stage.get_by_role("button", name="Redo").click()
    expect(stage.get_by_label("Caption of box 1")).to_have_value("a red <b>fox")
    # At once, while the last of it is not saved yet.
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(look(page).get_by_label("Caption of box 1")).to_have_value("a red <b>fox")
    assert [region["box"] for region in saved(page, desk)] == boxes({"box": [0.1, 0.2, 0.5, 0.6]})
    expect(page.locator("#gallery .mark.no_regions")).to_have_count(1)
    expect(page.locator("#gallery .outline")).to_have_count(1)


def test_the_keyboard_is_enough(page: Page, desk: PictureDesk) -> None:
    page.get_by_role("button", name="Look at a.png").focus()
    page.keyboard.press("Enter")
    stage = page.get_by_role("dialog")
    add = stage.get_by_role("button", name="Add a box")
    add.focus()
    page.keyboard.press("Enter")
    first = stage.get_by_role("button", name="Box 1:")
    expect(first).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
    expect(first).to_have_accessible_name("Box 1: no caption. Left 22 %, top 19 %, right 58 %, bottom 53 %")
    page.keyboard.press("Enter")
    page.keyboard.type("猫")
    add.press("Enter")
    page.keyboard.press("Shift+Tab")
    expect(first).to_be_focused()
    expect(stage.get_by_label("Sides of box 1")).to_be_visible()
    expect(stage.get_by_label("Sides of box 2")).to_be_hidden()
    left, right = (stage.get_by_role("spinbutton", name=side) for side in ("Left", "Right"))
    right.fill("12.5")
    expect(right).to_have_attribute("aria-invalid", "true")
    expect(stage.get_by_role("status")).to_contain_text("Left must be less than right")
    left.fill("0")
    expect(right).to_have_value("58")
    right.fill("12.5")
    assert saved(page, desk)[0] == {"box": [0, 0.19, 0.125, 0.53], "caption": "猫"}
    # Within a field the editor's own undo works, too, a stroke of work at a time.
    page.keyboard.press("Control+z")
    expect(right).to_have_value("58")
    first.press("Delete")
    expect(stage.get_by_role("status")).to_contain_text("Box 1 was deleted.")
    expect(first).to_be_focused()
    expect(stage).to_contain_text("a.png")
    assert saved(page, desk) == [{"box": [0.26, 0.26, 0.61, 0.61], "caption": ""}]
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Look at a.png")).to_be_focused()


def test_ten_boxes_are_enough_and_doubles_are_named(page: Page, desk: PictureDesk) -> None:
    many = [{"box": [i / 12, 0.0, (i + 1) / 12, 0.5], "caption": str(i)} for i in range(9)]
    name = next(sample.id for sample in desk.samples() if sample.name == "a.png")
    desk.save({"edits": [{"id": name, "regions": [*many, LEFT_HALF]}]})
    page.reload()
    stage = look(page)
    status, rows = stage.get_by_role("status"), stage.locator(".region-list li")
    expect(rows).to_have_count(10)
    expect(status).to_have_text("")
    stage.get_by_role("button", name="Add a box").click()
    expect(status).to_contain_text("At most 10 boxes")
    drag(page, stage.locator(".region-layer"), (0.6, 0.6), (0.9, 0.9))
    expect(rows).to_have_count(10)
    assert saved(page, desk)[9] == LEFT_HALF
    # A box that holds others does not hide them: the smallest one under the pointer is meant.
    stage.locator(".region-layer").click(position={"x": 15, "y": 20})
    expect(rows.nth(0)).to_have_class("chosen")
    desk.save({"edits": [{"id": name, "regions": [*many, LEFT_HALF, {**LEFT_HALF, "caption": "twin"}]}]})
    page.reload()
    look(page)
    expect(status).to_have_text(
        "11 boxes: all are kept, but a model reads the 10 largest. Boxes 10 and 11 lie almost wholly over each other; "
        "a model can hardly tell them apart."
    )


def test_a_finger_draws_on_a_phone(page: Page, desk: PictureDesk) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    stage = look(page, "b.png")
    layer = stage.locator(".region-layer")
    finger = page.context.new_cdp_session(page)
    finger.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    path = [point(layer, (0.2 + i * 0.1, 0.1 + i * 0.1)) for i in range(5)]
    for kind, points in [("Start", path[:1]), *[("Move", [one]) for one in path[1:]], ("End", [])]:
        touches = [{"x": x, "y": y} for x, y in points]
        finger.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": touches})
    expect(stage.get_by_role("button", name="Box 1:")).to_be_focused()
    stage.get_by_label("Caption of box 1").fill("a tail")
    assert saved(page, desk, "b.png")[0] == {"box": boxes({"box": [0.2, 0.1, 0.6, 0.5]})[0], "caption": "a tail"}
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_boxes_are_drawn_on_an_empty_square(page: Page) -> None:
    layer = page.locator("#canvas .region-layer")
    layer.scroll_into_view_if_needed()
    area = layer.bounding_box()
    assert area and area["width"] == pytest.approx(area["height"], abs=1)
    drag(page, layer, (0.25, 0.25), (0.75, 0.5))
    page.keyboard.type("a moon")
    expect(page.locator("#canvas .region-place")).to_contain_text("right 75 %")
    (region,) = json.loads(page.locator("#canvas [data-options]").get_attribute("title") or "")
    assert region == {"box": boxes({"box": [0.25, 0.25, 0.75, 0.5]})[0], "caption": "a moon"}


def test_boxes_come_with_files_and_go_with_them(page: Page, desk: PictureDesk, tmp_path: Path) -> None:
    late = make_folder(tmp_path / "late", {"a.txt": "1 0.5 0.5 0.5 1.5", "obj.names": "cat\nfox", "b.txt": "a caption"})
    page.locator("#files input[type=file]").set_input_files([late / "a.txt", late / "obj.names", late / "b.txt"])
    expect(page.get_by_label("Caption of b.png", exact=True)).to_have_value("a caption")
    expect(page.locator("#report")).to_contain_text("cut off there: a.png")
    assert saved(page, desk) == [{"box": [0.25, 0.0, 0.75, 1.0], "caption": "fox"}]
    for form in ("COCO", "YOLO"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download with boxes as {form}").click()
        assert download.value.suggested_filename == f"{form.lower()}.zip"
    page.locator("#editor-filter").select_option("no_regions")
    expect(page.locator("#gallery .card:visible")).to_have_count(1)


@pytest.mark.parametrize("path", ["?__theme=light&of=", "zh?__theme=dark&of="])
def test_no_accessibility_faults_while_drawing(page: Page, url: str, desk: PictureDesk, path: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    names = [sample.id for sample in desk.samples()]
    desk.save({"edits": [{"id": name, "regions": [LEFT_HALF, {**LEFT_HALF, "caption": ""}]} for name in names]})
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}{path}{desk.folder.name}")
    expect(page.locator("#gallery .card")).to_have_count(2)
    for context in ("#canvas", "#editor"):
        if context == "#editor":
            page.locator("#gallery .thumb").first.click()
            page.locator(".stage .region-list li").first.locator(".region-number").click()
        found = axe.run(page, context=context).response["violations"]
        assert not [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in found]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
