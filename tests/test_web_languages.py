"""Which language a visit gets, and which requests of other sites' pages are refused: the layers in front of Gradio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lora_web.hosts import HostCheck
from lora_web.languages import COOKIE, LanguageChoice, preferred

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    async def show(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.path)

    layers = [Middleware(HostCheck, host="127.0.0.1", allowed=("lora.example",)), Middleware(LanguageChoice)]
    app = Starlette(routes=[Route("/{rest:path}", show, methods=["GET", "POST"])], middleware=layers)
    with TestClient(app, base_url="http://localhost:7860", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("fr,zh-TW;q=0.5", "zh"),
        ("fr", "en"),
        ("", "en"),
        ("zh;q=much,;q=,,", "en"),
        ("zh;q=0", "en"),
    ],
)
def test_the_browsers_wish(header: str, code: str) -> None:
    assert preferred(header) == code


def test_a_first_visit_goes_to_the_browsers_language_and_keeps_the_run(client: TestClient) -> None:
    sent = client.get("/?run=abc&__theme=dark", headers=CHINESE)
    assert (sent.status_code, sent.headers["location"]) == (307, "zh?run=abc&__theme=dark")
    assert client.get("/").status_code == 200
    assert client.get("/zh").status_code == 200
    assert client.get("/config", headers=CHINESE).status_code == 200
    assert client.post("/", headers=CHINESE).status_code == 200


def test_a_choice_is_remembered_and_stronger_than_the_browser(client: TestClient) -> None:
    chosen = client.get("/?lang=en", headers=CHINESE)
    assert chosen.status_code == 200
    assert client.cookies[COOKIE] == "en"
    assert client.get("/", headers=CHINESE).status_code == 200
    client.get("/zh?lang=zh")
    assert client.get("/", headers={"Accept-Language": "en"}).headers["location"] == "zh"
    for odd in ("fr", "", "../../x"):
        assert "set-cookie" not in client.get("/zh", params={"lang": odd}).headers


def test_a_cookie_works_inside_a_frame_when_the_page_is_encrypted(client: TestClient) -> None:
    assert "SameSite=Lax" in client.get("/?lang=en").headers["set-cookie"]
    secure = client.get("/?lang=en", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert "SameSite=None; Secure" in secure


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:7860"}, 200),
        ({"Origin": "https://lora.example"}, 200),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "http://127.0.0.1:7860"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_other_sites_pages_may_not_send(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.post("/gradio_api/upload", headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200


def test_the_default_port_may_be_left_out(client: TestClient) -> None:
    headers = {"Host": "localhost", "Origin": "http://localhost:80"}
    assert client.post("/x", headers=headers).status_code == 200
