"""What a person sees of a run that is going on before the page itself is there.

Gradio's page takes a second or more to load, longer while the same processor trains. Whoever opens a new tab to look
after a run should not have to wait for that: a few lines in the page's HTML ask for the run's state and show it until
the page does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from pipelines.errors import ProblemsError

from .progress import status
from .text import LANGUAGES, speaking
from .workspace import is_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .site import Site

_SCRIPT = (Path(__file__).parent / "glance.js").read_text(encoding="utf-8")
_END = b"</body>"


def route(site: Site) -> Route:
    """The address of a run's state, for the visitor whose it is; no content unless it is going on."""

    def answer(request: Request) -> Response:
        visitor, run, code = (request.path_params[name] for name in ("visitor", "run", "language"))
        folder = site.workspace.visitor(visitor).run(run) if is_token(visitor) and code in LANGUAGES else None
        try:
            found = site.supervisor.status(folder) if folder else None
        except ProblemsError:
            found = None
        if found is None or not found.active:
            return Response(status_code=204)
        with speaking(code):
            return HTMLResponse(status(found, run), headers={"Cache-Control": "no-store"})

    return Route("/gradio_api/glance/{visitor}/{run}/{language}", answer)


class Glance:
    """Puts the script into the page's HTML, and sends it packed, which Gradio does for files only: most of the HTML is
    what Gradio is told of the page, and packs to an eighth."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
            code = next((code for code, place in LANGUAGES.items() if place == path), None)
            if code:
                await GZipMiddleware(self._with_script(code), compresslevel=6)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _with_script(self, code: str) -> ASGIApp:
        async def page(scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, _with_script(send, _SCRIPT.replace("LANGUAGE", code)))

        return page


def _with_script(send: Send, script: str) -> Send:
    """A `send` that holds an HTML answer back until it is whole, and adds the script at its end."""
    start: Message | None = None
    body = b""

    async def answer(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            headers = Headers(scope=message)
            plain = "content-encoding" not in headers and headers.get("content-type", "").startswith("text/html")
            if plain and message["status"] == 200:
                start = message
                return
        elif start is not None and message["type"] == "http.response.body":
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            body = body.replace(_END, b"<script>" + script.encode() + b"</script>" + _END)
            MutableHeaders(scope=start)["Content-Length"] = str(len(body))
            await send(start)
            message = {"type": "http.response.body", "body": body}
        await send(message)

    return answer
