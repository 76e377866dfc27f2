"""Every handler of the page, in every language, and every endpoint: values that no page would send, from a stranger
who knows the ids of somebody else's things."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lora_web.workspace import Visitor, Workspace, new_token
from pipelines.config import RunConfig
from tests.data_parts import make_pictures

gr = pytest.importorskip("gradio")


SECRET = "a caption that only its owner may read"
VALUES: list[Any] = ["../../etc/passwd", float("nan"), 1e308, True, {"path": "/etc/hostname"}, [["x", None]]]


class Watched:
    """A served page whose handlers note what they raise, and a visitor on it who owns things."""

    def __init__(self, root: Path):
        from lora_web.app import build, launch_settings

        self.raised: list[str] = []
        self.demo = build(root / "workspace")
        for fn in self.demo.fns.values():
            if fn.fn:
                fn.fn = self._watched(fn.fn)
        _, url, _ = self.demo.launch(
            prevent_thread_lock=True, quiet=True, **launch_settings(self.demo, "127.0.0.1", None)
        )
        self.client = httpx.Client(base_url=url, timeout=120)
        self.owner = Workspace(root / "workspace").visitor(None)
        self.ids = self._own(self.owner, make_pictures(root / "pictures", count=1))

    def _watched(self, handler: Any) -> Any:
        @functools.wraps(handler)
        def answer(*values: Any) -> Any:
            try:
                return handler(*values)
            except gr.Error:
                raise
            except Exception as error:
                self.raised.append(f"{handler.__name__}{values!r:.200}: {type(error).__name__}: {error}")
                raise

        return answer

    @staticmethod
    def _own(owner: Visitor, pictures: Path) -> dict[str, str]:
        (pictures / "disc-0.txt").write_text(SECRET)
        run = owner.runs_folder() / new_token()
        run.mkdir()
        (run / "run.json").write_text(RunConfig().to_json())
        (run / "log.txt").write_text(SECRET)
        return {"dataset": owner.import_samples([pictures], "stable_diffusion"), "run": run.name}

    def ask(self, index: int, data: list[Any]) -> str:
        """What the server answers to these values; empty when it refuses to take them."""
        session = new_token()[:10]
        body = {"fn_index": index, "data": data, "session_hash": session, "event_data": None, "trigger_id": None}
        answer = self.client.post(
            f"/gradio_api/queue/join?run={self.ids['run']}",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (200, 400, 422), answer.text
        if answer.status_code != 200:
            return ""
        with self.client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():
                if '"process_completed"' in line:
                    return line
        raise AssertionError("the stream ended without an answer")

    def strange(self, block: Any, value: Any) -> Any:
        """What is sent for one input: the stranger's own token with the owner's ids where the page's memory goes."""
        if isinstance(block, gr.BrowserState) and value is not None:
            return {"visitor": "0" * 32, **self.ids}
        return value


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    watched = Watched(tmp_path_factory.mktemp("fuzz"))
    yield watched
    watched.client.close()
    watched.demo.close()


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "seen"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.long
def test_no_handler_breaks_or_lets_a_stranger_in(watched: Watched) -> None:
    before = contents(watched.owner.folder)
    handlers = {index: fn for index, fn in watched.demo.fns.items() if fn.fn}
    assert {fn.page for fn in handlers.values()} == {"", "zh"}
    for index, fn in handlers.items():
        # The pages share their handlers: what is odd in one language is odd in the other.
        odd = [None, *VALUES[index % 2 :: 2]] if fn.page == "" else [VALUES[index % len(VALUES)]]
        for value in odd:
            said = watched.ask(index, [watched.strange(block, value) for block in fn.inputs])
            assert SECRET not in said, fn.name
            assert "Traceback" not in said, fn.name
    for values in ([], [None] * 99):
        assert SECRET not in watched.ask(min(handlers), values)
    assert watched.raised == []
    assert contents(watched.owner.folder) == before


def test_endpoints_do_not_know_a_strangers_ids(watched: Watched) -> None:
    before = contents(watched.owner.folder)
    public = {index: fn for index, fn in watched.demo.fns.items() if fn.fn and fn.api_visibility == "public"}
    assert len(public) == 11
    for index, fn in public.items():
        names = gr.utils.get_function_params(fn.fn)
        own = {"visitor": "0" * 32, **known_to_a_thief(watched)}
        said = watched.ask(index, [own.get(name, default) for name, _, default, _ in names])
        assert SECRET not in said, fn.name
    assert watched.raised == []
    assert contents(watched.owner.folder) == before


def known_to_a_thief(watched: Watched) -> dict[str, Any]:
    return {
        **watched.ids,
        "prompt": "x",
        "question": "x",
        "strengths": [1.0],
        "files": [str(watched.owner.folder / "seen")],
    }


def test_no_handler_answers_without_the_queue(watched: Watched) -> None:
    names = {fn.api_name for fn in watched.demo.fns.values() if fn.fn}
    for name in names:
        for path in (f"run/{name}", f"api/{name}"):
            assert watched.client.post(f"/gradio_api/{path}", json={"data": []}).status_code == 404, path
