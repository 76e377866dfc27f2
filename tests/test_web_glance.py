"""What is told of a run before the page is there: to its visitor only, in the page's language, while it goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lora_web import glance, processes
from lora_web.folders import Process, write_process
from lora_web.site import Site
from lora_web.workspace import Workspace
from pipelines.events import Finished
from tests.run_parts import prepared, step, write

VISITOR, RUN = "a" * 32, "b" * 32
PAGE = "<html><body><p>页</p></body></html>"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run whose process lives."""
    run = tmp_path / "workspace" / "visitors" / VISITOR / "runs" / RUN
    write(run, prepared(), step(3))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_process(run, Process(child.pid, processes.start_time(child.pid), 0))
    yield run
    child.communicate(b"\n")


@pytest.fixture
def client(run: Path, tmp_path: Path) -> Iterator[TestClient]:
    site = Site(Workspace(tmp_path / "workspace"))

    def page(request: Request) -> Response:
        return HTMLResponse(PAGE) if request.path_params["path"] != "zh/text" else PlainTextResponse(PAGE)

    app = Starlette(routes=[glance.route(site), Route("/{path:path}", page)], middleware=[Middleware(glance.Glance)])
    yield TestClient(app)
    site.supervisor.close()


@pytest.mark.parametrize(("language", "told"), [("en", "Step 3 of 10"), ("zh", "第 3 / 10 步")])
def test_a_run_that_goes_on_is_told_to_its_visitor(client: TestClient, language: str, told: str) -> None:
    reply = client.get(f"/gradio_api/glance/{VISITOR}/{RUN}/{language}")
    assert reply.status_code == 200 and told in reply.text and 'data-step="3"' in reply.text
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "address",
    [f"{'c' * 32}/{RUN}/en", f"{VISITOR}/{'d' * 32}/en", f"{VISITOR}/{RUN}/xx", f"..%2F{VISITOR}/{RUN}/en"],
)
def test_nothing_else_is_told(client: TestClient, address: str) -> None:
    reply = client.get(f"/gradio_api/glance/{address}")
    assert "Step" not in reply.text and "data-step" not in reply.text


def test_a_run_that_is_over_is_the_pages_to_tell(client: TestClient, run: Path) -> None:
    write(run, Finished(10, "a", 1.0))
    reply = client.get(f"/gradio_api/glance/{VISITOR}/{RUN}/en")
    assert (reply.status_code, reply.content) == (204, b"")


@pytest.mark.parametrize(("path", "language"), [("/", "en"), ("/zh", "zh"), ("/zh/", "zh")])
def test_the_page_asks_in_its_language_and_is_whole(client: TestClient, path: str, language: str) -> None:
    text = client.get(path).text
    assert text.startswith("<html><body><p>页</p><script>") and text.endswith("</script></body></html>")
    assert f'run, "{language}"]' in text


def test_the_page_is_sent_packed_to_whoever_can_unpack() -> None:
    page = "<html><body>" + "<p>页</p>" * 1000 + "</body></html>"
    app = Starlette(
        routes=[Route("/{path:path}", lambda _: HTMLResponse(page))], middleware=[Middleware(glance.Glance)]
    )
    with TestClient(app) as client:
        replies = [client.get("/zh", headers={"Accept-Encoding": how}) for how in ("gzip, br", "identity")]
    assert [reply.headers.get("content-encoding") for reply in replies] == ["gzip", None]
    assert int(replies[0].headers["content-length"]) < len(page) / 8 and replies[0].text == replies[1].text
    assert replies[0].text.count("<script>") == 1


def test_other_answers_are_left_alone(client: TestClient) -> None:
    assert client.get("/zh/text").text == PAGE
    assert client.get("/somewhere").text == PAGE
