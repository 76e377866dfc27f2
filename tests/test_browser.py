"""The page in a real browser, over a real server and real training of a tiny base: nothing is mocked."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.browser_parts import SLOW, is_of_the_ladder, plot, run_folder, settle, state, step_of
from tests.web_parts import wait_for

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_from_pictures_to_a_file(
    page: sync_api.Page, url: str, workspace: Path, tiny_base: Callable[[str], Path]
) -> None:
    """Example set, train, reload in the middle, survive a kill, stop and keep, move the slider, take the file."""
    page.locator("#use-example").click()
    expect(page.locator("#report")).to_contain_text("18 pictures ready")
    expect(page.locator("#gallery img")).to_have_count(18)
    expect(page.locator("#gallery textarea").first).to_have_value(re.compile("banana"))

    settle(page, tiny_base("sd1"), **{"train-steps": 3000, "train-learning-rate": 0.02})
    page.locator("#train").click()
    expect(state(page, "running")).to_be_visible()
    wait_for(lambda: step_of(page) >= 2, "the second step")
    expect(page.locator("#plot svg, #plot canvas").first).to_be_visible()
    before = plot(page)
    wait_for(lambda: step_of(page) >= 20, "twenty steps")
    wait_for(lambda: plot(page) != before, "the plot to move")

    reach_again(page, url)
    survive_a_kill(page, workspace)
    page.locator("#stop").click()
    expect(state(page, "stopped")).to_be_visible(timeout=SLOW)
    expect(page.locator("#resume")).to_be_enabled()
    move_the_slider(page)
    take_the_files(page)

    folder = run_folder(workspace, page)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#discard").click()
    expect(page.locator("#status")).to_contain_text("Nothing is training yet")
    wait_for(lambda: not folder.exists(), "the folder to be deleted")
    expect(page).not_to_have_url(re.compile("run="))


def reach_again(page: sync_api.Page, url: str) -> None:
    """The run is there after a reload, without its name in the address, and in a second tab."""
    expect(page).to_have_url(re.compile("run=[0-9a-f]{32}"))
    seen = step_of(page)
    page.reload()
    expect(state(page, "running")).to_be_visible()
    wait_for(lambda: step_of(page) > seen, "the reloaded page to go on")
    expect(page.locator("#gallery img")).to_have_count(18)
    expect(page.locator("#set-train-steps input")).to_have_value("3000")
    page.goto(url)
    expect(state(page, "running")).to_be_visible()
    second = page.context.new_page()
    held: list[sync_api.Route] = []
    second.route("**/assets/index-*.js", lambda route: held.append(route))
    second.goto(url, wait_until="commit")
    # The run is told before Gradio's page begins, and only until it is there.
    expect(second.locator("#glance [data-step]")).to_be_visible()
    wait_for(lambda: second.evaluate("1") and held, "the page's script to be asked for")
    held[0].continue_()
    expect(state(second, "running")).to_be_visible()
    expect(second.locator("#glance")).to_have_count(0)
    second.close()


def survive_a_kill(page: sync_api.Page, workspace: Path) -> None:
    """A killed worker is noticed and can be resumed."""
    process = json.loads((run_folder(workspace, page) / "process.json").read_text())
    os.kill(process["pid"], signal.SIGKILL)
    expect(state(page, "interrupted")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("signal 9")
    reached = step_of(page)
    page.locator("#resume").click()
    expect(state(page, "running")).to_be_visible()
    wait_for(lambda: step_of(page) > reached, "the resumed run to pass where it was")


def move_the_slider(page: sync_api.Page) -> None:
    """Every strength has its picture, and moving between them asks the server nothing."""
    page.locator("#prompt textarea").fill("a fox <b>&")
    page.locator("#show").click()
    slider = page.locator("#ladder [data-part=slider]")
    expect(slider).to_be_visible(timeout=SLOW)
    expect(page.locator("#ladder")).to_contain_text("“a fox <b>&”")
    picture = page.locator('#ladder img[data-part="adapter"]')
    base = page.locator('#ladder img[data-part="base"]').get_attribute("src")
    assert base
    assert picture.evaluate("image => image.naturalWidth") > 0

    asked: list[str] = []
    page.on("request", lambda request: asked.append(str(request.post_data)) if is_of_the_ladder(request) else None)
    slider.focus()
    page.keyboard.press("Home")
    expect(picture).to_have_attribute("src", base)
    sources = [base]
    for strength in ("0.25", "0.50", "0.75", "1.00", "1.25", "1.50"):
        page.keyboard.press("PageUp")
        expect(page.locator('#ladder [data-part="value"]')).to_have_text(strength)
        expect(slider).to_have_attribute("aria-valuetext", strength)
        sources.append(picture.get_attribute("src") or "")
    assert len(set(sources)) == 7
    box = slider.bounding_box()
    assert box
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    expect(picture).to_have_attribute("src", base)
    page.get_by_role("button", name="Strength 1.00").click()
    expect(picture).to_have_attribute("src", sources[4])
    assert asked == []


def take_the_files(page: sync_api.Page) -> None:
    """Both files arrive and open."""
    from safetensors.numpy import load

    for form, key in (("diffusers", "unet."), ("kohya", "lora_unet_")):
        with page.expect_download(timeout=SLOW) as download:
            page.locator(f"#download-{form}").click()
        assert download.value.suggested_filename.endswith(f"{form}.safetensors")
        tensors = load(Path(download.value.path()).read_bytes())
        assert tensors
        assert all(name.startswith(key) for name in tensors)


def test_bad_files_are_told_and_good_ones_kept(page: sync_api.Page, tmp_path: Path, pictures: Path) -> None:
    files = page.locator("#files input[type=file]")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is not a picture")
    files.set_input_files(broken)
    expect(page.locator("#report .problems")).to_contain_text("broken.png")

    good = [pictures / "disc-0.png", pictures / "disc-0.txt", pictures / "disc-1.png", broken]
    files.set_input_files(good)
    expect(page.locator("#report")).to_contain_text("2 pictures ready")
    expect(page.locator("#report")).to_contain_text("broken.png")
    expect(page.locator("#gallery textarea").first).to_have_value("disc 0")

    files.set_input_files(pictures / "disc-2.png")
    expect(page.locator("#report")).to_contain_text("3 pictures ready")
    page.reload()
    expect(page.locator("#gallery img")).to_have_count(3)
    page.locator("#clear").click()
    expect(page.locator("#report")).to_contain_text("No pictures yet")
    expect(page.locator("#gallery img")).to_have_count(0)


def test_a_script_in_a_caption_stays_text(page: sync_api.Page, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    (tmp_path / "red.txt").write_text("<img src=x onerror='window.hit=1'>")
    page.locator("#files input[type=file]").set_input_files([tmp_path / "red.png", tmp_path / "red.txt"])
    expect(page.locator("#gallery textarea")).to_have_value("<img src=x onerror='window.hit=1'>")
    assert page.evaluate("window.hit") is None


def test_mistakes_are_sentences_and_nothing_is_lost(page: sync_api.Page) -> None:
    page.locator("#set-train-steps input").fill("0")
    page.locator("#set-adapter-rank input").fill("2.5")
    page.locator("#train").click()
    told = page.locator("#problems .problems")
    for sentence in ("There are no pictures", "train.steps is 0", "adapter.rank is 2.5"):
        expect(told).to_contain_text(sentence)
    expect(page.locator("#set-train-steps input")).to_have_value("0")
    expect(state(page, "running", "queued")).to_have_count(0)


def test_two_visitors_do_not_see_each_other(page: sync_api.Page, browser: sync_api.Browser, url: str) -> None:
    page.locator("#use-example").click()
    expect(page.locator("#gallery img")).to_have_count(18)
    other = browser.new_context().new_page()
    other.goto(url)
    expect(other.locator("#report")).to_contain_text("No pictures yet")
    expect(other.locator("#gallery img")).to_have_count(0)
    other.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_accessibility_faults(page: sync_api.Page, url: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.goto(f"{url}?__theme={scheme}")
    page.locator("#use-example").click()
    expect(page.locator("#gallery img")).to_have_count(18)
    # Of Gradio's own making: roles on its upload area, the picture in its footer.
    ignored = {"aria-prohibited-attr", "nested-interactive", "image-redundant-alt"}
    found = axe.run(page).response["violations"]
    told = [
        (fault["id"], [node["html"][:150] for node in fault["nodes"]]) for fault in found if fault["id"] not in ignored
    ]
    assert not told


def test_a_phone_is_wide_enough(browser: sync_api.Browser, url: str) -> None:
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(url)
    page.locator("#use-example").click()
    expect(page.locator("#gallery img")).to_have_count(18)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()
