"""The strength panel in a real browser: a really trained adapter of a tiny base, scrubbed, measured and taken home."""

from __future__ import annotations

import base64
import io
import json
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import worker
from pipelines.events import Finished
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession
from tests.browser_parts import SLOW, is_of_the_ladder, run_folder
from tests.web_parts import tiny_config

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = pytest.mark.browser
REQUEST = PreviewRequest("disc 1", steps=2, guidance=5)


@pytest.fixture(scope="module")
def trained(tiny_base: Callable[[str], Path], pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    run = tmp_path_factory.mktemp("trained") / "run"
    config = tiny_config(tiny_base("sd1"), steps=12)
    config = replace(
        config,
        data=replace(config.data, path=str(pictures)),
        train=replace(config.train, learning_rate=0.05, checkpoint_every=6),
    )
    worker.start(config, run)
    assert isinstance(list(worker.run(run))[-1], Finished)
    return run


@pytest.fixture
def panel(page: sync_api.Page, workspace: Path, trained: Path) -> sync_api.Page:
    """The page of a visitor who has that run, with a ladder shown."""
    known = set(workspace.glob("visitors/*/datasets/*/metadata.jsonl"))
    page.locator("#use-example").click()
    expect(page.locator("#report")).to_contain_text("18 pictures ready")
    (written,) = set(workspace.glob("visitors/*/datasets/*/metadata.jsonl")) - known
    name = secrets.token_hex(16)
    shutil.copytree(trained, written.parents[2] / "runs" / name)
    page.goto(f"{page.url.partition('?')[0]}?run={name}")
    # A run that can be tried is shown without being asked for.
    expect(part(page, "slider")).to_be_visible(timeout=SLOW)
    unasked = part(page, "adapter").get_attribute("src") or ""
    page.locator("#preview-settings > button").click()
    page.locator("#preview-steps input").fill(str(REQUEST.steps))
    page.locator("#prompt textarea").fill(REQUEST.prompt)
    page.locator("#show").click()
    expect(part(page, "adapter")).not_to_have_attribute("src", unasked, timeout=SLOW)
    expect(part(page, "zero")).to_contain_text("12288 bytes compared, none differs")
    return page


def part(page: sync_api.Page, name: str) -> sync_api.Locator:
    return page.locator(f'#ladder [data-part="{name}"]')


def pixels(source: str | None) -> np.ndarray:
    assert source
    kind, _, data = source.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return np.asarray(picture.convert("RGB"))


def shown(page: sync_api.Page) -> np.ndarray:
    return pixels(part(page, "adapter").get_attribute("src"))


def test_scrub_without_the_server_and_rest_with_it(
    panel: sync_api.Page, workspace: Path, trained: Path, tiny_base: Callable[[str], Path]
) -> None:
    page, slider = panel, part(panel, "slider")
    session = PreviewSession("stable_diffusion", str(tiny_base("sd1")))
    adapter = trained / "adapter" / "adapter.safetensors"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(str(request.post_data)) if is_of_the_ladder(request) else None)

    # The slider never rests: every rung and what is between them, by keyboard, in one breath.
    slider.focus()
    page.evaluate("""() => {
        const slider = document.querySelector('#ladder [data-part="slider"]');
        for (let at = 0; at <= 1.5; at += 0.05) { slider.value = at; slider.dispatchEvent(new Event("input")); }
        for (const key of ["PageDown", "PageDown"]) slider.dispatchEvent(new KeyboardEvent("keydown", {key}));
    }""")
    expect(part(page, "value")).to_have_text("1.00")
    expect(part(page, "kind")).to_have_text("Exact: drawn at this strength.")
    for key, strength in (("End", "1.50"), ("PageDown", "1.25"), ("PageUp", "1.50"), ("Home", "0.00")):
        page.keyboard.press(key)
        expect(part(page, "value")).to_have_text(strength)
    assert (shown(page) == pixels(part(page, "base").get_attribute("src"))).all()
    page.get_by_role("button", name="Strength 0.50").click()
    assert (shown(page) == np.asarray(session.render({adapter: 0.5}, REQUEST))).mean() > 0.9
    assert asked == []

    # Between two rungs it says so; at rest the exact picture comes.
    page.keyboard.press("Tab")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(part(page, "value")).to_have_text("0.55")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("0.55"))
    expect(part(page, "kind")).to_have_text("Exact: drawn at this strength just now.", timeout=SLOW)
    assert (shown(page) == np.asarray(session.render({adapter: 0.55}, REQUEST))).all()
    assert asked
    # It is kept: coming back asks nobody.
    page.keyboard.press("Home")
    asked.clear()
    for _ in range(11):
        page.keyboard.press("ArrowRight")
    expect(part(page, "kind")).to_have_text("Exact: drawn at this strength just now.")

    # Two ways to compare; the wipe moves by keyboard.
    page.get_by_role("button", name="Wipe", exact=True).click()
    part(page, "wipe").focus()
    page.keyboard.press("ArrowRight")
    assert part(page, "compare").get_attribute("style") == "--wipe: 51%;"
    page.get_by_role("button", name="Side by side").click()

    # A group of layers gets another multiple: only that group changes, and the strength stays where it was.
    page.get_by_role("button", name="Strength 1.00").click()
    page.locator("#ladder summary").click()
    group = page.locator('#ladder input[data-group="self-attention"]')
    before = part(page, "adapter").get_attribute("src")
    group.fill("0")
    expect(part(page, "adapter")).not_to_have_attribute("src", before or "", timeout=SLOW)
    expect(part(page, "value")).to_have_text("1.00")
    page.get_by_role("button", name="Strength 1.00").press("Enter")
    alone = np.asarray(session.render({adapter: {"self-attention": 0.0, "cross-attention": 1.0}}, REQUEST)).astype(int)
    assert np.abs(shown(page).astype(int) - alone).mean() < 1.0


def test_measure_compare_and_take_home(panel: sync_api.Page, workspace: Path) -> None:
    page = panel
    page.locator("#measure").click()
    expect(part(page, "recommended")).to_contain_text("recommended", ignore_case=True, timeout=SLOW)
    curve = json.loads((run_folder(workspace, page) / "curve.json").read_text())
    assert curve["samples"] == 6 and len(curve["near"]) == len(curve["strengths"]) == 9
    if curve["recommended"] is not None:
        expect(part(page, "value")).to_have_text(f"{curve['recommended']:.2f}")
    expect(page.locator("#ladder svg polyline")).to_have_count(2)

    for form in ("diffusers", "kohya"):
        with page.expect_download(timeout=SLOW) as download:
            page.locator(f"#download-{form}").click()
        from safetensors import safe_open

        path = download.value.path()
        with safe_open(path, "np") as file:
            ours = json.loads(file.metadata()["lora_web"])
        assert ours["recommended_strength"] == curve["recommended"]

    with page.expect_download(timeout=SLOW) as download:
        page.locator("#contact-sheet").click()
    with Image.open(download.value.path()) as sheet:
        assert sheet.info["prompt"] == REQUEST.prompt and sheet.info["seed"] == "0"
        assert sheet.info["strengths"] == "0 0.25 0.5 0.75 1 1.25 1.5"
        assert sheet.width >= 7 * 64

    page.locator("#grid > button").click()
    expect(page.locator("#grid-rows")).to_contain_text("step 6")
    with page.expect_download(timeout=SLOW) as download:
        page.locator("#grid-draw").click()
    with Image.open(download.value.path()) as sheet:
        assert json.loads(sheet.info["adapters"]) == ["step 6", "step 12", "the adapter"]
        assert sheet.height > 3 * 64
    expect(page.locator("#grid-sheet img")).to_be_visible()

    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, context="#ladder").response["violations"]
    assert [(fault["id"], [node["html"][:150] for node in fault["nodes"]]) for fault in found] == []
