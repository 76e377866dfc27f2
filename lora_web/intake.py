"""What the server takes in: how large a request may be, and how often one address may upload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from .languages import preferred
from .rates import HourlyRate
from .text import duration, say, speaking
from .workspace import Limits, megabytes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# What the page itself sends, apart from files: the captions of some thousand pictures fit.
_MESSAGE_BYTES = 32 * 2**20


class Intake:
    """Refuses requests that are larger than anything the page sends, and uploads beyond the hourly number.

    Gradio checks each file of an upload; how many bytes come in all, and how many uploads, it leaves open.
    """

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits = app, limits
        self._uploads = HourlyRate(limits.uploads_per_hour)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        with speaking(preferred(headers.get(b"accept-language", b"").decode("latin-1"))):
            refusal = self.refusal(scope, headers)
        await (refusal or self.app)(scope, receive, send)

    def refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> PlainTextResponse | None:
        """The answer to a POST that is not let in."""
        length = headers.get(b"content-length", b"").decode("latin-1")
        if not (length.isascii() and length.isdecimal()):
            return PlainTextResponse(say("length_needed"), 411)
        upload = scope["path"].rstrip("/").endswith("/upload")
        limit = self.limits.visitor_bytes if upload else _MESSAGE_BYTES
        if len(length) > 15 or int(length) > limit:
            return PlainTextResponse(say("too_large", limit=megabytes(limit)), 413)
        wait = self._uploads.wait((scope.get("client") or ("",))[0]) if upload else 0.0
        if wait:
            told = say("too_many_uploads", limit=self.limits.uploads_per_hour, time=duration(wait))
            return PlainTextResponse(told, 429, {"Retry-After": str(round(wait) + 1)})
        return None
