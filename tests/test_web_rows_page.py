"""The editor of dialogues as a served component: uploads, strangers, what no page would send, two on one dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lora_web.workspace import Workspace, new_token
from tests.test_web_rows import EXAMPLE, asked

gr = pytest.importorskip("gradio")


class Page:
    """A page with both editors, asked without a browser."""

    def __init__(self, root: Path):
        from lora_web import app
        from lora_web.panels.rows import Dialogues, PictureDialogues
        from lora_web.site import Site
        from lora_web.slots import Slot

        self.site = Site(Workspace(root))
        self.demo = app.Page(self.site)
        with self.demo:
            self.text = Dialogues(self.site, Slot("text_llm"), "dialogues/plain_words.jsonl")
            self.seen = PictureDialogues(self.site, Slot("vora"), "openmoji")
        self.demo.queue(api_open=False)
        settings = app.launch_settings(self.demo, "127.0.0.1", None)
        _, url, _ = self.demo.launch(prevent_thread_lock=True, quiet=True, **settings)
        self.client = httpx.Client(base_url=url, timeout=60)

    def ask(self, component: Any, name: str, data: Any) -> Any:
        body = {"data": data, "fn_name": name, "component_id": component._id, "session_hash": new_token()[:10]}
        answer = self.client.post(
            "/gradio_api/component_server", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    root = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(root / "served"))
        page = Page(root)
        yield page
        page.client.close()
        page.demo.close()
        page.site.supervisor.close()


@pytest.fixture
def who(page: Page) -> dict[str, str]:
    return page.text.view({"visitor": new_token()})[0]


FUNCTIONS = ("open", "view", "add", "save", "example", "clear", "pictures")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_no_page_would_send_are_sentences(page: Page, who: dict[str, str], name: str) -> None:
    rows = page.text.rows.component
    page.ask(rows, "example", who)
    before = page.ask(rows, "view", who)
    for data in (
        None,
        [],
        "x",
        3,
        {},
        {"visitor": "../x", "dataset": "x"},
        who | {"dataset": ["a"]},
        {"visitor": 1e999},
    ):
        assert page.ask(rows, name, data) == {"problems": ["This page does not know whose data this is; reload it."]}
    for odd in ({"page": float("nan")}, {"page": -5, "at": 3}, {"query": ["x"], "at": "9" * 40}, {"version": {}}):
        assert page.ask(rows, "view", who | odd)["count"] == 144
    for wrong in ({"edits": "x"}, {"remove": [1]}, {"restore": {"a": 1}}, {"remove": "all"}):
        assert page.ask(rows, "save", who | wrong)["problems"]
    assert page.ask(rows, "view", who) == before


def test_what_was_not_uploaded_is_not_read(page: Page, who: dict[str, str]) -> None:
    rows = page.text.rows.component
    for path in ("/etc/hostname", str(EXAMPLE), str(page.site.workspace.root / "secret"), "a\0b", "", 5):
        assert page.ask(rows, "add", who | {"files": [{"path": path, "name": "a.jsonl"}]})["problems"]
    sent = page.client.post("/gradio_api/upload", files=[("files", ("a.jsonl", EXAMPLE.read_bytes()))]).json()
    assert page.ask(rows, "add", who | {"files": [{"path": sent[0], "name": "faq.jsonl"}]})["count"] == 144


def test_a_stranger_sees_and_takes_nothing(page: Page, who: dict[str, str]) -> None:
    rows = page.text.rows.component
    page.ask(rows, "example", who)
    stranger = who | {"visitor": new_token()}
    assert page.ask(rows, "view", stranger)["rows"] == []
    assert page.ask(rows, "save", stranger | {"edits": [{"id": "1", "turns": asked("mine", "x")}]})["refused"]
    there = "/gradio_api/rows/{family}/{visitor}/{dataset}/{form}"
    for form, name in {"jsonl": "dialogues.jsonl", "alpaca": "alpaca.json"}.items():
        answer = page.client.get(there.format(**who, family="text_llm", form=form))
        assert answer.headers["content-disposition"] == f"attachment; filename={name}" and len(answer.content) > 1000
    for wrong in (stranger | {"family": "text_llm"}, who | {"family": "stable_diffusion"}, who | {"family": "x"}):
        assert page.client.get(there.format(**wrong, form="jsonl")).status_code == 404
    assert page.client.get(there.format(**who, family="text_llm", form="secret")).status_code == 404


def test_both_editors_of_a_dataset_see_each_other(page: Page) -> None:
    seen = page.seen.view({"visitor": new_token()})
    assert seen[0] == seen[1]
    pictures = page.ask(page.seen.editor.component, "example", seen[0])["pictures"]
    assert [one["id"] for one in page.ask(page.seen.rows.component, "pictures", seen[0])["pictures"]] == [
        one["id"] for one in pictures
    ]
    edit = {"id": "new-1", "turns": asked("What?", "It."), "pictures": [pictures[0]["id"]]}
    page.ask(page.seen.rows.component, "save", seen[0] | {"edits": [edit]})
    page.ask(page.seen.editor.component, "save", seen[0] | {"remove": [pictures[0]["id"]]})
    assert page.ask(page.seen.rows.component, "view", seen[0])["count"] == 0
    # Looking again leaves what can be undone.
    assert len(page.ask(page.seen.editor.component, "open", seen[0] | {"again": True})["pictures"]) == 17
    page.ask(page.seen.editor.component, "save", seen[0] | {"restore": [pictures[0]["id"]]})
    assert page.ask(page.seen.rows.component, "view", seen[0])["count"] == 1
