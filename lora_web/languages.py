"""Which language a visitor gets: the one they chose, else the one their browser asks for, else English."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse

from .text import LANGUAGES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "lora-web-language"
_YEAR = 365 * 24 * 3600


class LanguageChoice:
    """Sends a first visit to the page in the browser's language; `?lang=` is a choice, which a cookie remembers.

    Where cookies are refused (a page inside another site's frame) the choice stays in the address.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        chosen = parse_qs(query).get("lang", [""])[0]
        if chosen in LANGUAGES:
            await self.app(scope, receive, _with_cookie(send, chosen, _is_secure(scope, headers)))
            return
        root = scope.get("root_path", "")
        at_front = scope["path"].removeprefix(root) in ("", "/")
        wanted = _remembered(headers.get(b"cookie", "")) or preferred(headers.get(b"accept-language", ""))
        if at_front and LANGUAGES[wanted]:
            # Relative, so that it holds behind any proxy and path.
            target = RedirectResponse(LANGUAGES[wanted] + (f"?{query}" if query else ""), 307)
            target.headers["Vary"] = "Accept-Language, Cookie"
            await target(scope, receive, send)
            return
        await self.app(scope, receive, send)


def preferred(header: str) -> str:
    """The language of ours that an Accept-Language header likes best; English when it names none."""
    best, weight = "en", 0.0
    for part in header.split(",")[:20]:
        name, _, quality = part.strip().partition(";q=")
        code = name.partition("-")[0].lower()
        try:
            liked = float(quality) if quality else 1.0
        except ValueError:
            continue
        if code in LANGUAGES and liked > weight:
            best, weight = code, liked
    return best


def _remembered(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return found.value if found and found.value in LANGUAGES else None


def _is_secure(scope: Scope, headers: dict[bytes, str]) -> bool:
    return "https" in (scope.get("scheme"), headers.get(b"x-forwarded-proto", "").partition(",")[0].strip())


def _with_cookie(send: Send, code: str, secure: bool) -> Send:
    kind = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("Set-Cookie", f"{COOKIE}={code}; Path=/; Max-Age={_YEAR}; {kind}")
        await send(message)

    return answer
