"""What keeps strangers out of a page that is meant for one machine."""

import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

LOCAL = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")

BODY = "application/octet-stream"
"""The type of every posted body: pages of other origins cannot send it without asking first."""


@dataclass(frozen=True)
class Limits:
    """How much requests may ask for.

    Attributes:
        max_bytes: of a posted photo or file.
        max_pixels: of a picture.
        max_held: bytes of the bodies of all requests that wait or are worked on.
    """

    max_bytes: int = 32_000_000
    max_pixels: int = 16_000_000
    max_held: int = 128_000_000


class Guard:
    """Refuses strangers, and says in every answer what the page may do.

    Names are checked since a page of another origin can make its own name point to this machine. It cannot do so with
    an address, so where the server listens on all addresses, each of them will do.

    It wraps the application itself: Starlette's `BaseHTTPMiddleware` would hide from it that a browser has gone.

    Args:
        app: what is guarded.
        hosts: names and addresses by which the page may be called, beside those of this machine. `0.0.0.0` and `::`
            stand for all addresses, and for the name of the machine.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._hosts = {*LOCAL, *(host.lower() for host in hosts)}
        self._all = not self._hosts.isdisjoint(EVERYWHERE)
        if self._all:
            self._hosts.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(Request(scope)) or self._app
        await answer(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        if not self._is_called(request.headers.get("host", "")):
            return Response("the page goes by another name", 400)
        if request.method == "POST" and not _is_own(request):
            return Response("posts come from this page alone", 403)
        if request.method == "POST" and request.headers.get("content-type") != BODY:
            return Response(f"bodies are {BODY}", 415)
        return None

    def _is_called(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._hosts or (self._all and bool(ipaddress.ip_address(name)))
        except ValueError:  # neither a name that is known nor an address
            return False


def _is_own(request: Request) -> bool:
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    try:
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return False
    except ValueError:  # no address
        return False
    return site in (None, "same-origin")


class Bodies:
    """Posted bytes, each kept until its request is answered, and no more than a limit in all.

    Args:
        limits: of one request, and of all that wait.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """The posted bytes of a request.

        Raises:
            HTTPException: there are none, or more than a limit.
            ClientDisconnect: the browser has gone.
        """
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                self._held += len(part)
                if size > self._limits.max_bytes:
                    raise HTTPException(413, f"more than {self._limits.max_bytes:,} bytes")
                if self._held > self._limits.max_held:
                    raise HTTPException(503, "too much is waiting to be worked on: try again in a while")
                parts.append(part)
            if not size:
                raise HTTPException(400, "nothing was sent")
            body = b"".join(parts)
            parts.clear()  # which are as many bytes again
            yield body
        finally:
            self._held -= size
