"""Strangers and their requests: hosts, closed endpoints, other visitors' things, paths, values no form would send."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lora_web.hosts import HostCheck, host_name
from lora_web.progress import status
from lora_web.sentences import problems
from lora_web.site import Site
from lora_web.workspace import Limits, Workspace, is_token, new_token
from pipelines.config import RunConfig
from pipelines.errors import ProblemsError
from pipelines.events import Failed
from pipelines.registry import options_class
from tests.run_parts import prepared, write
from tests.web_parts import ROOT

gr = pytest.importorskip("gradio")
ENDPOINTS = (
    *("hello", "validate_dataset", "estimate", "start", "status", "stop", "resume"),
    *("preview", "answer", "export", "forget"),
)


class Page:
    """A served page and a client that speaks to it without a browser."""

    def __init__(self, demo: Any, url: str, root: Path):
        self.demo, self.root = demo, root
        self.client = httpx.Client(base_url=url, timeout=60)

    def send(self, name: str, *data: Any, query: str = "") -> dict[str, Any]:
        """Call a private handler the way the page does: join the queue, wait for the answer."""
        private = {fn.name: i for i, fn in reversed(self.demo.fns.items()) if fn.api_visibility == "private"}
        index = private[name]
        session = new_token()[:10]
        body = {"fn_index": index, "data": list(data), "session_hash": session, "event_data": None, "trigger_id": None}
        answer = self.client.post(f"/gradio_api/queue/join?{query}", json=body)
        assert answer.status_code == 200, answer.text
        with self.client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    return dict(message)
        raise AssertionError("the stream ended without an answer")

    def said(self, name: str, *data: Any, query: str = "") -> str:
        return json.dumps(self.send(name, *data, query=query)["output"])

    def defaults(self) -> list[Any]:
        from lora_web import form

        return form.show(RunConfig(), form.fields("stable_diffusion"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from lora_web.app import build, launch_settings

    root = tmp_path_factory.mktemp("workspace")
    demo = build(root)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_settings(demo, "127.0.0.1", None))
    page = Page(demo, url, root)
    yield page
    page.client.close()
    demo.close()


def test_only_our_own_names_are_served(page: Page) -> None:
    port = page.client.base_url.port
    for name in ("127.0.0.1", "localhost", "[::1]", f"localhost:{port}", "LOCALHOST"):
        assert page.client.get("/", headers={"Host": name}).status_code == 200, name
    for name in ("evil.com", f"evil.com:{port}", "127.0.0.1.evil.com", "10.0.0.1", ""):
        answer = page.client.get("/", headers={"Host": name})
        assert answer.status_code == 400, name
        assert "--allow-host" in answer.text


def test_addresses_pass_once_a_network_is_served_and_names_do_not() -> None:
    def passes(check: HostCheck, *hosts: bytes) -> bool:
        return check.passes({"headers": [(b"host", host) for host in hosts]})

    network = HostCheck(lambda *_: None, host="0.0.0.0", allowed=("Lab.example",))
    assert passes(network, b"192.168.1.7:7860")
    assert passes(network, b"lab.example")
    assert not passes(network, b"evil.com")
    assert not passes(network, b"localhost", b"evil.com")
    assert not passes(network)
    assert host_name("[::1]:7860") == "::1"


def test_no_handler_answers_outside_the_queue_and_none_is_listed(page: Page) -> None:
    handlers = {index: fn for index, fn in page.demo.fns.items() if fn.fn}
    assert len(handlers) >= 10
    for index, fn in handlers.items():
        for name in (fn.api_name or "predict", "predict"):
            answer = page.client.post(f"/gradio_api/run/{name}", json={"data": [], "fn_index": index})
            assert answer.status_code == 404, (fn.name, answer.text)
    listed = page.client.get("/gradio_api/info").json()
    assert set(listed["named_endpoints"]) == {f"/{name}" for name in ENDPOINTS}
    assert listed["unnamed_endpoints"] == {}


def test_another_visitors_things_are_not_there(tmp_path: Path, pictures: Path) -> None:
    site = Site(Workspace(tmp_path))
    owner = site.workspace.visitor(None)
    dataset = owner.import_samples([pictures], "stable_diffusion")
    run = owner.runs_folder() / new_token()
    run.mkdir()
    own = {"visitor": owner.token, "dataset": dataset, "run": run.name}
    assert site.who(own)[1] == own
    stranger = new_token()
    assert site.who(own | {"visitor": stranger})[1] == {"visitor": stranger}


@pytest.mark.parametrize(
    "name", ["..", "../..", "/etc", "", None, 7, ["a"], "A" * 32, "g" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n"]
)
def test_what_is_not_an_id_never_becomes_a_path(tmp_path: Path, name: Any) -> None:
    visitor = Workspace(tmp_path).visitor(name)
    assert is_token(visitor.token)
    assert visitor.token != name
    assert visitor.dataset(name) is None
    assert visitor.run(name) is None


@pytest.mark.parametrize("state", [None, [], "x", 3, {"visitor": {"a": 1}}, {"visitor": None, "run": {"$ne": 1}}])
def test_a_strange_browser_state_is_a_new_visitor(tmp_path: Path, state: Any) -> None:
    visitor, known = Site(Workspace(tmp_path)).who(state)
    assert known == {"visitor": visitor.token}


def test_a_foreign_run_in_the_address_shows_nothing(page: Page) -> None:
    owner = Workspace(page.root).visitor(None)
    run = owner.runs_folder() / new_token()
    run.mkdir()
    (run / "run.json").write_text(RunConfig().to_json())
    write(run, prepared(), Failed(1, ("a secret of the owner",)))
    assert "a secret of the owner" in page.said("arrive", {"visitor": owner.token}, query=f"run={run.name}")
    for state in ({}, {"visitor": new_token()}, {"visitor": new_token(), "run": run.name}):
        assert "a secret of the owner" not in page.said("arrive", state, query=f"run={run.name}")
    page.send("throw_away", {"visitor": new_token(), "run": run.name})
    assert run.exists()


def test_the_workspace_is_not_served(page: Page) -> None:
    owner = Workspace(page.root).visitor(None)
    run = owner.runs_folder() / new_token()
    run.mkdir()
    (run / "run.json").write_text("{}")
    for path in (run / "run.json", page.root / "secret", ROOT / "app.py", Path("/etc/hostname")):
        assert page.client.get(f"/gradio_api/file={path}").status_code in (403, 404), path


@pytest.mark.parametrize("value", [None, "text", [1], {"a": 1}, True, -1, 1e308, 2.5])
def test_settings_no_form_would_send_are_sentences(page: Page, pictures: Path, value: Any) -> None:
    owner = Workspace(page.root).visitor(None)
    state = {"visitor": owner.token, "dataset": owner.import_samples([pictures], "stable_diffusion")}
    from lora_web import form

    names = [field.name for field in form.fields("stable_diffusion")]
    values = page.defaults()
    values[names.index("train.steps")] = value
    message = page.send("start", state, *values)
    assert not message["success"] or "train.steps is" in json.dumps(message["output"])
    assert not list(owner.runs_folder().iterdir())


def test_every_problem_is_told_at_once(page: Page) -> None:
    from lora_web import form

    names = [field.name for field in form.fields("stable_diffusion")]
    values = page.defaults()
    values[names.index("train.steps")] = 0
    values[names.index("adapter.rank")] = 100000
    said = page.said("start", {}, *values)
    for sentence in ("There are no pictures", "train.steps is 0", "adapter.rank is 100000"):
        assert sentence in said


def test_a_preview_without_a_run_and_one_with_bad_numbers_are_sentences(page: Page) -> None:
    assert "no trained adapter" in page.said("picture", {}, "0 … 1.5", "a fox", "", 0, 25, 5)
    from lora_web.previews import read_request

    with pytest.raises(ProblemsError) as caught:
        read_request(None, "", float("nan"), 1e9, float("inf"))
    assert [problem.split()[0] for problem in caught.value.problems] == ["prompt", "seed", "steps", "guidance"]


def test_limits_are_enforced(tmp_path: Path, pictures: Path) -> None:
    few = Workspace(tmp_path, Limits(files=2)).visitor(None)
    with pytest.raises(ProblemsError, match="at most 2"):
        few.import_samples([pictures / f"disc-{i}.png" for i in range(3)], "stable_diffusion")
    small = Workspace(tmp_path, Limits(visitor_bytes=100)).visitor(None)
    with pytest.raises(ProblemsError, match="fit"):
        small.import_samples([pictures / "disc-0.png"], "stable_diffusion")
    assert not small.folder.exists()


def test_a_server_for_strangers_offers_only_its_own_bases(tmp_path: Path) -> None:
    site = Site(Workspace(tmp_path), hosted=True)
    site.check(RunConfig())
    for base in ("/etc", "bases/emoji-sd", "someone/model"):
        with pytest.raises(ProblemsError, match="offers only"):
            site.check(RunConfig(base=base))
        teacher = RunConfig("vora", "emoji-sd", options=options_class("vora")(teacher=base))
        with pytest.raises(ProblemsError, match="offers only"):
            site.check(teacher)


def test_text_from_people_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    assert "<img" not in problems([evil])
    assert "<img" not in status(None, evil)


def test_building_the_page_imports_no_model_library(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from lora_web.app import build; build(pathlib.Path(sys.argv[1]));"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'peft', 'accelerate') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_a_port_in_use_is_a_sentence(page: Page, tmp_path: Path) -> None:
    command = [sys.executable, "app.py", "--port", str(page.client.base_url.port), "--workspace", str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 2
    assert "in use" in found.stderr
    assert "Traceback" not in found.stderr
