"""Who may speak to this program: requests for its own names only, and nothing sent from the page of another site."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL = ("localhost", "127.0.0.1", "::1")


class HostCheck:
    """Answers 400 to requests for a name that is not ours, 403 to what the page of another site sends.

    Served on loopback, only loopback names pass. Served to a network, addresses pass too: DNS rebinding, which this
    is against, needs a name. Further names must be allowed by whoever starts the program.
    """

    def __init__(self, app: ASGIApp, host: str, allowed: tuple[str, ...] = ()):
        self.app = app
        self.open = not _is_loopback(host)
        own = (host, socket.gethostname()) if self.open else ()
        self.allowed = {name.lower() for name in allowed}
        self.names = {name.lower() for name in (*_LOCAL, *own)} | self.allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self.passes(scope):
            await PlainTextResponse(
                "This address is not served here; start with --allow-host NAME to allow it.", status_code=400
            )(scope, receive, send)
            return
        if scope["type"] == "http" and not self.from_here(scope):
            await PlainTextResponse("Another site's page may not send this.", status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def from_here(self, scope: Scope) -> bool:
        """Whether a request changes nothing, or comes from our own page or from no page at all.

        Browsers say where a request comes from; programs without a browser do not, and need no protection.
        """
        headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
        if scope["method"] in ("GET", "HEAD", "OPTIONS") or b"origin" not in headers:
            return True
        if headers.get(b"sec-fetch-site") == "same-origin":
            return True
        scheme, _, place = headers[b"origin"].partition("://")
        default = {"http": ":80", "https": ":443"}.get(scheme, "")
        own = headers.get(b"host", "")
        # A proxy may have replaced the Host header; then the page's name is one that was allowed.
        return place.removesuffix(default) == own.removesuffix(default) or host_name(place) in self.allowed

    def passes(self, scope: Scope) -> bool:
        """Whether there is exactly one Host header and it names this server."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        name = host_name(hosts[0])
        return name in self.names or (self.open and _is_address(name))


def host_name(header: str) -> str:
    """The name in a Host header: no port, no brackets, lower case, no final dot."""
    name = header.strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return name.removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
