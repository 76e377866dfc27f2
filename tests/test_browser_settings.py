"""Settings and pre-flight in a real browser: mistakes, the run as text, presets, fixes, and the first three clicks."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config import RunConfig, with_values
from pipelines.presets import values
from tests.browser_parts import SLOW, run_folder, settle, state
from tests.web_parts import ROOT, wait_for

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = pytest.mark.browser

COMMAND, RUN_JSON = "#command textarea", "#run-json textarea"


def number(page: sync_api.Page, name: str) -> sync_api.Locator:
    return page.locator(f"#set-{name} input")


def open_text(page: sync_api.Page) -> None:
    page.locator("#as-text > button").click()
    expect(page.locator(RUN_JSON)).to_have_value(re.compile('"family"'))


def test_mistakes_are_marked_at_their_field_and_nothing_is_lost(page: sync_api.Page) -> None:
    page.locator("#set-data-trigger-word textarea, #set-data-trigger-word input").first.fill("sks")
    number(page, "train-steps").fill("0")
    mark = page.locator("#set-train-steps .field-problem")
    expect(mark).to_have_text("train.steps is 0, must be at least 1")
    expect(number(page, "train-steps")).to_have_attribute("aria-invalid", "true")
    expect(number(page, "train-steps")).to_have_attribute("aria-describedby", "set-train-steps-problem")
    number(page, "adapter-rank").fill("2.5")
    page.locator("#train").click()
    listed = page.locator("#problems .problems")
    for sentence in ("There are no pictures", "train.steps is 0", "adapter.rank is 2.5"):
        expect(listed).to_contain_text(sentence)
    expect(page.locator("#set-adapter-rank .field-problem")).to_contain_text("whole number")
    expect(number(page, "train-steps")).to_have_value("0")
    expect(page.locator("#set-data-trigger-word textarea, #set-data-trigger-word input").first).to_have_value("sks")
    number(page, "train-steps").fill("9")
    expect(mark).to_have_count(0)
    expect(number(page, "train-steps")).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator("#set-adapter-rank .field-problem")).to_have_count(1)


def test_a_mistake_in_the_folded_part_opens_it(page: sync_api.Page) -> None:
    fold = page.locator("#advanced > button")
    fold.click()
    number(page, "train-ema").fill("7")
    fold.click()
    expect(number(page, "train-ema")).to_be_hidden()
    page.locator("#train").click()
    expect(page.locator("#problems .problems")).to_contain_text("train.ema is 7")
    expect(page.locator("#set-train-ema .field-problem")).to_be_visible()


@pytest.mark.long
def test_the_command_line_shown_reproduces_the_run_exactly(
    page: sync_api.Page, workspace: Path, tiny_base: Callable[[str], Path], pictures: Path, tmp_path: Path
) -> None:
    page.locator("#files input[type=file]").set_input_files(sorted(pictures.iterdir()))
    expect(page.locator("#report")).to_contain_text("6 pictures ready")
    settle(page, tiny_base("sd1"), **{"train-steps": 2, "train-learning-rate": "0.00123"})
    trigger = 'it\'s "sks" $HOME'
    page.locator("#set-data-trigger-word textarea, #set-data-trigger-word input").first.fill(trigger)
    open_text(page)
    expect(page.locator(COMMAND)).to_have_value(re.compile("trigger_word"))
    expect(page.locator(RUN_JSON)).to_have_value(re.compile('"learning_rate": 0.00123'))
    command, shown = page.locator(COMMAND).input_value(), page.locator(RUN_JSON).input_value()
    assert json.loads(shown)["data"]["trigger_word"] == trigger

    page.locator("#train").click()
    expect(state(page, "finished")).to_be_visible(timeout=SLOW)
    of_page = run_folder(workspace, page) / "run.json"
    assert of_page.read_text() == shown

    (tmp_path / "dataset").symlink_to(pictures)
    assert shlex.split(command)[0] == "python"
    script = f"PYTHONPATH={shlex.quote(str(ROOT))}\nexport PYTHONPATH\n{command}\n"
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my-run" / "run.json").read_text() == shown
    adapter = Path("adapter") / "adapter.safetensors"
    assert (tmp_path / "my-run" / adapter).is_file() and (of_page.parent / adapter).is_file()


def test_settings_come_from_a_file_a_paste_and_a_fix(page: sync_api.Page, tmp_path: Path) -> None:
    config = with_values(RunConfig(), {"data.path": "elsewhere", "train.steps": 77, "options.conv": True})
    (tmp_path / "run.json").write_text(config.to_json())
    open_text(page)
    with page.expect_file_chooser() as chooser:
        page.locator("#load-file").click()
    chooser.value.set_files(tmp_path / "run.json")
    expect(number(page, "train-steps")).to_have_value("77")
    expect(page.locator(RUN_JSON)).to_have_value(re.compile('"conv": true'))
    assert json.loads(page.locator(RUN_JSON).input_value())["data"]["path"] == "dataset"

    page.locator("#paste textarea").fill(with_values(config, {"train.steps": 78, "adapter.rank": 3}).to_json())
    page.locator("#use-paste").click()
    expect(number(page, "train-steps")).to_have_value("78")
    expect(number(page, "adapter-rank")).to_have_value("3")

    for wrong, told in (('{"train": {"steps": -1}}', "train.steps is -1"), ("no json", "not a run.json")):
        page.locator("#paste textarea").fill(wrong)
        page.locator("#use-paste").click()
        expect(page.locator("#problems")).to_contain_text(told)
        expect(number(page, "train-steps")).to_have_value("78")

    page.locator("#use-example").click()
    number(page, "train-steps").fill("5")
    fix = page.locator('#preflight [data-kind="passes"] button')
    expect(fix).to_have_text("Train 90 steps")
    fix.click()
    expect(number(page, "train-steps")).to_have_value("90")
    expect(page.locator('#preflight [data-kind="passes"]')).to_have_count(0)


def test_presets_set_what_they_say_and_nothing_else(page: sync_api.Page) -> None:
    chosen = page.locator("#preset-effort input:checked")
    expect(chosen).to_have_value("balanced")
    page.locator("#set-data-caption textarea, #set-data-caption input").first.fill("a drawing")
    page.locator("#preset-changes summary").click()
    expect(page.locator("#preset-changes")).to_contain_text("Steps 200 → 60")
    page.get_by_label("Quick look").click()
    quick = values("stable_diffusion", "emoji-sd", ["quick"])
    expect(number(page, "train-steps")).to_have_value(str(quick["train.steps"]))
    expect(number(page, "adapter-rank")).to_have_value(str(quick["adapter.rank"]))
    expect(page.locator("#set-data-caption textarea, #set-data-caption input").first).to_have_value("a drawing")
    page.get_by_label("A style").click()
    open_text(page)
    expect(page.locator(COMMAND)).to_have_value(re.compile("options.conv=true"))
    number(page, "train-steps").fill("61")
    expect(chosen).to_have_count(0)


def test_time_and_memory_are_measured_while_the_form_stands_still(
    page: sync_api.Page, tiny_base: Callable[[str], Path]
) -> None:
    # Not yet measured for another test.
    settle(page, tiny_base("sd1"), **{"adapter-rank": 3})
    page.locator("#use-example").click()
    expect(page.locator("#preflight [data-waiting]")).to_be_visible()
    expect(page.locator('#preflight [data-kind="time"]')).to_contain_text("Time: about", timeout=SLOW)
    expect(page.locator('#preflight [data-kind="memory"]')).to_contain_text("GiB free")
    expect(page.locator("#preflight [data-waiting]")).to_have_count(0)
    number(page, "train-steps").fill("400")
    expect(page.locator('#preflight [data-kind="time"]')).to_contain_text("400 steps of")


def test_the_form_is_chinese_on_the_chinese_page(page: sync_api.Page, url: str) -> None:
    page.goto(f"{url}zh?lang=zh")
    steps = page.locator("#set-train-steps")
    expect(steps).to_contain_text("训练步数")
    expect(steps).to_contain_text("优化器更新的次数")
    number(page, "train-steps").fill("0")
    expect(page.locator("#set-train-steps .field-problem")).to_contain_text("不能小于 1")
    page.locator("#train").click()
    expect(page.locator("#problems .problems")).to_contain_text("训练步数（train.steps） 是 0")
    number(page, "train-steps").fill("200")
    page.locator("#use-example").click()
    expect(page.locator("#preflight")).to_contain_text("每条说明文字里都有“openmoji”")
    expect(page.locator("#preset-effort")).to_contain_text("快速看看")


@pytest.mark.long
def test_three_clicks_to_a_moving_slider(page: sync_api.Page) -> None:
    """Example, train, drag: a first visit with nothing but the mouse, on the bundled base, with default settings."""
    page.locator("#use-example").click()
    expect(page.locator("#report")).to_contain_text("18 pictures ready")
    page.locator("#train").click()
    slider = page.locator("#ladder [data-part=slider]")
    wait_for(lambda: slider.is_visible(), "the ladder, which nobody asked for", 4 * SLOW / 1000)
    expect(page.locator("#prompt textarea")).to_have_value("a tree, openmoji")
    picture = page.locator('#ladder img[data-part="adapter"]')
    before = picture.get_attribute("src")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.66, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(page.locator('#ladder [data-part="value"]')).to_have_text("0.00")
    expect(picture).not_to_have_attribute("src", before or "")
