"""Runs in a real browser: what they outlive, the line, the history. Real training of a tiny base, nothing is mocked."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_web.folders import ADAPTER, read_process
from pipelines.config import RunConfig
from tests.browser_parts import chromium, end_runs, open_tab_on_phone, run_folder, settle, state, step_of, visit
from tests.web_parts import Server, wait_for

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = pytest.mark.browser
# Said by the browser while there is no server, or no network, to answer the page.
AWAY = ("ERR_CONNECTION_REFUSED", "ERR_INTERNET_DISCONNECTED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED")
AWAY = (*AWAY, "ERR_NETWORK", "ERR_EMPTY_RESPONSE", "Failed to fetch", "Could not resolve app config", "network error")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium()
    folder = tmp_path_factory.mktemp("runs")
    server = Server(folder / "workspace", folder / "server.log")
    try:
        server.start()
        yield server
    finally:
        server.end()
        end_runs(server.workspace)


def title_of(page: sync_api.Page, pattern: str) -> None:
    expect(page).to_have_title(re.compile(pattern), timeout=60_000)


@pytest.mark.long
def test_a_run_outlives_tab_network_worker_and_server(
    browser: sync_api.Browser, server: Server, tiny_base: Callable[[str], Path]
) -> None:
    """One visitor: train, lose everything that can be lost, queue a second run, stop the first, compare, clean up."""
    base = tiny_base("sd1")
    with visit(browser, server.url, AWAY) as page:
        page.locator("#use-example").click()
        expect(page.locator("#report")).to_contain_text("18 pictures ready")
        settle(page, base, **{"train-steps": 20000, "data-validation-percent": 20, "train-validate-every": 5})
        page.locator("#train").click()
        expect(state(page, "running")).to_be_visible()
        wait_for(lambda: step_of(page) >= 6, "six steps")
        title_of(page, r"^\d+ % · LoRA Web$")
        expect(page.locator("#status")).to_contain_text("validation loss")
        expect(page.locator("#status")).to_contain_text("steps per second")
        first = run_folder(server.workspace, page)

        page = another_tab(page, server.url)
        lose_the_network(page, first)
        lose_the_server(page, server)
        lose_the_worker(page, first)
        queue_another(page, base)
        second = run_folder(server.workspace, page)
        assert second != first

        page.locator(f'#status .others a[href="?run={first.name}"]').click()
        expect(state(page, "running")).to_be_visible()
        sample_and_stop(page, first)
        history(page, first, second)


def another_tab(page: sync_api.Page, url: str) -> sync_api.Page:
    """The tab is closed; a new one, without the run in its address, has it again."""
    seen = step_of(page)
    context = page.context
    page.close()
    page = context.new_page()
    page.goto(url)
    expect(state(page, "running")).to_be_visible()
    wait_for(lambda: step_of(page) > seen, "the new tab to go on")
    return page


def lose_the_network(page: sync_api.Page, run: Path) -> None:
    page.context.set_offline(True)
    size = (run / "events.jsonl").stat().st_size
    wait_for(lambda: (run / "events.jsonl").stat().st_size > size + 2000, "training to go on")
    seen = step_of(page)
    page.context.set_offline(False)
    wait_for(lambda: step_of(page) > seen + 5, "the page to catch up")


def lose_the_server(page: sync_api.Page, server: Server) -> None:
    """Killed without warning and started again: the run went on, and the same page finds it."""
    seen = step_of(page)
    server.end(signal.SIGKILL)
    server.start()
    wait_for(lambda: step_of(page) > seen, "the page to find the run again")
    expect(state(page, "running")).to_be_visible()


def lose_the_worker(page: sync_api.Page, run: Path) -> None:
    process = read_process(run)
    assert process
    os.kill(process.pid, signal.SIGKILL)
    expect(state(page, "interrupted")).to_be_visible()
    # This server did not start it, so nobody told it the exit code.
    expect(page.locator("#status .problems")).to_contain_text("without saying why")
    expect(page.locator("#status details")).to_be_visible()
    title_of(page, "^Interrupted · ")
    reached = step_of(page)
    page.locator("#resume").click()
    expect(state(page, "running")).to_be_visible()
    wait_for(lambda: step_of(page) > reached, "the resumed run to pass where it was")


def queue_another(page: sync_api.Page, base: Path) -> None:
    """Train again while one is training: it waits, and says so."""
    page.locator("#set-train-steps input").fill("3")
    page.locator("#set-data-trigger-word textarea, #set-data-trigger-word input").fill("<b>ink")
    page.locator("#train").click()
    expect(state(page, "queued")).to_contain_text("1 before this one")
    title_of(page, "^Waiting · ")
    expect(page.locator("#stop")).to_have_text("Leave the line")
    expect(page.locator("#status .others li")).to_have_count(1)


def sample_and_stop(page: sync_api.Page, run: Path) -> None:
    """A picture on demand; then stop and keep gives an adapter that loads and does something."""
    wait_for(lambda: step_of(page) > 0, "a step after the page was opened")
    page.locator("#sample").click()
    expect(page.locator("#strip img")).to_have_count(1)
    assert page.locator("#strip img").evaluate("image => image.naturalWidth") == 64
    page.locator("#stop").click()
    expect(state(page, "stopped")).to_be_visible()
    title_of(page, "^Stopped · ")

    from pipelines.family import PreviewRequest
    from pipelines.preview import PreviewSession

    config = RunConfig.load(run / "run.json")
    session = PreviewSession(config.family, config.base, config.options)
    request = PreviewRequest(prompt="a disc", steps=2)
    plain, adapted = (session.render({run / ADAPTER: strength}, request) for strength in (0.0, 1.0))
    assert plain.tobytes() != adapted.tobytes()


def history(page: sync_api.Page, first: Path, second: Path) -> None:
    page.get_by_role("tab", name="Runs", exact=True).click()
    cards = page.locator("#history li")
    expect(cards).to_have_count(2)
    newest, oldest = (page.locator(f'#history li[data-run="{run.name}"]') for run in (second, first))
    expect(cards.first).to_have_attribute("data-run", second.name)
    expect(oldest).to_have_attribute("data-state", "stopped")
    # The line moved by itself, and the list with it.
    expect(newest).to_have_attribute("data-state", "finished", timeout=240_000)
    expect(newest.locator("h3")).to_have_text("<b>ink")
    expect(newest).to_contain_text("Step 3 of 3")
    for card in (newest, oldest):
        assert card.locator("img").evaluate("image => image.naturalWidth") > 0

    newest.get_by_role("checkbox").check()
    oldest.get_by_role("checkbox").check()
    different = page.locator('#comparison [data-part="different"]')
    expect(different).to_contain_text("train.steps")
    expect(different).to_contain_text("data.trigger_word")
    expect(different).not_to_contain_text("train.batch_size")
    expect(page.locator("#comparison")).to_contain_text("Lowest validation loss")
    expect(page.locator("#comparison-plot svg, #comparison-plot canvas").first).to_be_visible()
    accessible(page)
    oldest.get_by_role("checkbox").uncheck()
    expect(different).to_have_count(0)

    oldest.get_by_role("button", name="Rename").click()
    field = oldest.locator("input[type=text]")
    field.fill("The long one")
    field.press("Enter")
    expect(oldest.locator("h3")).to_have_text("The long one")

    newest.get_by_role("button", name="Train again").click()
    expect(cards).to_have_count(3)
    expect(cards.first.locator("h3")).to_have_text("<b>ink")
    expect(cards.first).to_have_attribute("data-state", "finished", timeout=240_000)

    page.once("dialog", lambda dialog: dialog.dismiss())
    oldest.get_by_role("button", name="Delete").click()
    expect(cards).to_have_count(3)
    page.once("dialog", lambda dialog: dialog.accept())
    oldest.get_by_role("button", name="Delete").click()
    expect(cards).to_have_count(2)
    wait_for(lambda: not first.exists(), "the folder to be deleted")

    newest.get_by_role("link", name="Open").click()
    expect(state(page, "finished")).to_be_visible()
    assert run_folder(page_workspace(second), page) == second
    title_of(page, "^Done · ")
    expect(page.locator("#set-train-steps input")).to_have_value("3")


def page_workspace(run: Path) -> Path:
    return run.parents[3]


def accessible(page: sync_api.Page) -> None:
    """No fault of ours in either theme."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for _ in range(2):
        for part in ("#history", "#comparison"):
            found = axe.run(page, context=part).response["violations"]
            assert [(fault["id"], [node["html"][:150] for node in fault["nodes"]]) for fault in found] == []
        page.evaluate("document.body.classList.toggle('dark')")


def test_a_run_that_cannot_work_says_why(
    browser: sync_api.Browser, server: Server, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    """A newcomer's empty history on a phone; then a base that was damaged on its way."""
    base = shutil.copytree(tiny_base("sd1"), tmp_path / "damaged")
    weights = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with visit(browser, server.url) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        open_tab_on_phone(page, "Runs")
        expect(page.locator("#history")).to_contain_text("No runs yet")
        page.get_by_role("tab", name="Stable Diffusion", exact=True).click()
        page.locator("#use-example").click()
        expect(page.locator("#report")).to_contain_text("18 pictures ready")
        settle(page, base, **{"train-steps": 3})
        page.locator("#train").click()
        expect(state(page, "failed")).to_be_visible(timeout=240_000)
        expect(page.locator("#status .problems")).to_contain_text("damaged")
        title_of(page, "^Failed · ")
        open_tab_on_phone(page, "Runs")
        card = page.locator("#history li")
        expect(card).to_have_attribute("data-state", "failed")
        expect(card.locator('[data-part="reason"]')).to_contain_text("damaged")
        expect(card.get_by_role("button", name="Resume")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
