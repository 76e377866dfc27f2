"""Questions and answers in a real browser: from files to what a run reads; with pictures, on a phone; nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lora_web.row_desk import RowDesk
from lora_web.talk_desk import TalkDesk
from lora_web.workspace import Visitor, Workspace
from pipelines.data.dialogues import read_dialogues
from tests.browser_parts import chromium, visit
from tests.data_parts import make_folder
from tests.dialogue_parts import make_dialogues

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

gr = pytest.importorskip("gradio")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(workspace: Path) -> Iterator[str]:
    """A page with step 1 of both families that read dialogues, in both languages."""
    from lora_web import app
    from lora_web.panels.rows import Dialogues, PictureDialogues
    from lora_web.site import Site
    from lora_web.slots import Slot
    from lora_web.text import LANGUAGES, speaking

    chromium()
    site = Site(Workspace(workspace))
    visitor = site.workspace.visitor(None)
    visitor.new_dataset()

    def whose(request: gr.Request) -> list[dict[str, str]]:
        names = [request.query_params.get(name) or visitor.new_dataset() for name in ("text", "seen", "seen")]
        return [{"visitor": visitor.token, "dataset": name} for name in names]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(site.workspace.root / "served"))
        demo = app.Page(site)
        for code, path in LANGUAGES.items():
            with speaking(code), demo.route("Rows", path, show_in_navbar=False) if path else demo:
                gr.Navbar(visible=False)
                with gr.Tabs():
                    with gr.Tab("Text"):
                        text = Dialogues(site, Slot("text_llm"), "dialogues/plain_words.jsonl")
                    with gr.Tab("Seen"):
                        seen = PictureDialogues(site, Slot("vora"), "openmoji")
                # What `visit` waits for.
                gr.HTML('<button id="use-example">ready</button>')
                demo.load(whose, None, [*text.outputs, *seen.outputs])
        demo.queue(api_open=False)
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **app.launch_settings(demo, "127.0.0.1", None))
        yield url
        demo.close()
        site.supervisor.close()


@pytest.fixture
def visitor(workspace: Path, url: str) -> Visitor:
    (visitor,) = Workspace(workspace).known_visitors()
    return visitor


def text_of(page: Page, role: str, row: int) -> Locator:
    return page.get_by_label(f"{role} of row {row}", exact=True)


def talks(page: Page) -> Locator:
    return page.locator(".talk:visible")


def saved(page: Page, editor: str) -> None:
    """Wait until the server has everything."""
    expect(page.locator(f'#{editor} [data-part="saved"]')).to_have_attribute("data-state", "saved")


def learned(desk: RowDesk) -> list[list[str]]:
    """What the trainer would read."""
    return [[turn.text for turn in sample.turns] for sample in read_dialogues(desk.folder).samples]


def test_from_files_to_what_a_run_reads(browser: Browser, url: str, visitor: Visitor, tmp_path: Path) -> None:
    desk = RowDesk(visitor, visitor.new_dataset())
    editor = "text-llm-rows-editor"
    with visit(browser, url, path=f"?text={desk.folder.name}") as page:
        page.locator("#text-llm-use-example-rows").click()
        expect(page.locator("#text-llm-row-report")).to_contain_text("144 rows ready")
        expect(talks(page)).to_have_count(20)
        # Typed in place; what is shown stays under the hand that types.
        answer = text_of(page, "Answer", 1)
        answer.fill("<b>ü 猫")
        saved(page, editor)
        answer.press("Control+Enter")
        expect(text_of(page, "Question", 2)).to_be_focused()
        assert learned(desk)[0] == ["What is a fox?", "<b>ü 猫"]

        # An answer must not be empty: it is told at its row, and nothing starts before it is mended.
        text_of(page, "Answer", 2).fill("")
        expect(page.locator('.talk[data-id="2"] .told')).to_contain_text("answer without words")
        assert page.evaluate("loraWeb.flush({})") == [{"unsaved": True}]
        page.locator('.talk[data-id="2"]').get_by_role("button", name="Follow up").click()
        text_of(page, "Question", 2).first.press("Control+z")
        text_of(page, "Question", 2).press("Control+z")
        expect(text_of(page, "Answer", 2)).not_to_have_value("")
        saved(page, editor)

        # A new row is one when it has both.
        page.get_by_role("button", name="Write a row").click()
        page.keyboard.insert_text("What is a unicorn?")
        expect(page.locator(f'#{editor} [data-part="saved"]')).to_have_attribute("data-state", "unfinished")
        page.get_by_label("Answer (new)", exact=True).fill("A horse with a horn.")
        expect(text_of(page, "Answer", 145)).to_have_value("A horse with a horn.")
        saved(page, editor)
        assert learned(desk)[-1] == ["What is a unicorn?", "A horse with a horn."]

        # Found, deleted, undone.
        page.get_by_role("searchbox").fill("unicorn")
        expect(talks(page)).to_have_count(1)
        page.get_by_role("button", name="Delete row 145").click()
        expect(talks(page)).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(text_of(page, "Question", 145)).to_have_value("What is a unicorn?")
        saved(page, editor)

        # Files, with what is wrong with them; one page after the other.
        bad = make_folder(tmp_path / "bad", {"bad.jsonl": "{broken\n" * 9 + '{"question": "Good?", "answer": "Yes."}'})
        page.locator(f"#{editor} input[type=file]").set_input_files([make_dialogues(tmp_path, 45), bad / "bad.jsonl"])
        expect(page.locator("#text-llm-row-report")).to_contain_text("191 rows ready")
        expect(page.locator("#text-llm-row-report")).to_contain_text("bad.jsonl, line 1 is not JSON")
        expect(page.locator(f'#{editor} [data-part="of-pages"]')).to_have_text("of 10")
        page.get_by_role("button", name="Next page").click()
        expect(page.get_by_label("Page", exact=True)).to_have_value("9")


def test_in_a_tunnel_nothing_is_lost_not_even_by_leaving(
    browser: Browser, url: str, visitor: Visitor, tmp_path: Path
) -> None:
    desk = RowDesk(visitor, visitor.new_dataset())
    desk.add([make_dialogues(tmp_path, 45)])
    editor = "text-llm-rows-editor"
    with visit(browser, url, path=f"?text={desk.folder.name}", ignored=("Failed to load resource",)) as page:
        page.get_by_role("button", name="Next page").click()
        expect(page.get_by_label("Page", exact=True)).to_have_value("2")
        page.route("**/component_server**", lambda route: route.abort())
        first = talks(page).first.locator("textarea").first
        first.fill("typed in a tunnel")
        expect(page.locator(f'#{editor} [data-part="saved"]')).to_have_attribute("data-state", "failed")
        page.unroute("**/component_server**")
        page.once("dialog", lambda dialog: dialog.accept())
        page.reload()
        expect(talks(page)).to_have_count(20)
        saved(page, editor)
        page.get_by_role("searchbox").fill("tunnel")
        expect(talks(page)).to_have_count(1)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as JSONL").click()
        rows = [json.loads(line) for line in Path(download.value.path()).read_text(encoding="utf-8").splitlines()]
        assert len(rows) == 45 and sum(row["messages"][0]["content"] == "typed in a tunnel" for row in rows) == 1


def axe_faults(page: Page, context: str) -> list[Any]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, context=context).response["violations"]
    return [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in found]


@pytest.mark.parametrize("path", ["?__theme=dark", "zh?"])
def test_questions_about_pictures_on_a_phone(browser: Browser, url: str, visitor: Visitor, path: str) -> None:
    desk = TalkDesk(visitor, visitor.new_dataset())
    with visit(browser, url, path=f"{path}&seen={desk.folder.name}") as page:
        page.set_viewport_size({"width": 390, "height": 844})
        page.locator("#text-llm-use-example-rows").click()
        expect(talks(page)).to_have_count(20)
        assert axe_faults(page, "#text-llm-rows-editor") == []
        page.get_by_role("tab", name="Seen").click()
        page.locator("#vora-use-example").click()
        expect(page.locator("#vora-gallery .card")).to_have_count(18)

        editor = page.locator("#vora-rows-editor")
        editor.locator('[data-part="write"]').click()
        choices = editor.locator(".choices button")
        expect(choices).to_have_count(18)
        assert axe_faults(page, "#vora-rows-editor dialog") == []
        editor.locator('.choices button[title="cat.png"]').click()
        page.keyboard.insert_text("Which animal?")
        page.keyboard.press("Tab")
        page.keyboard.insert_text("A cat.")
        expect(editor.locator('.talk[data-id="1"] img')).to_be_visible()
        saved(page, "vora-rows-editor")
        assert axe_faults(page, "#vora-rows-editor") == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        (row,) = desk.rows.read().values()
        assert row.turns[0].text == "<image>\nWhich animal?"

        # What is said of a picture goes with it, and comes back with it.
        cat = next(sample for sample in desk.samples() if sample.name == "cat.png")
        page.locator(f'#vora-gallery .card[data-id="{cat.id}"] .thumb').focus()
        page.keyboard.press("Delete")
        expect(editor.locator(".talk")).to_have_count(0)
        page.keyboard.press("Control+z")
        expect(editor.locator(".talk textarea").first).to_have_value("Which animal?")
