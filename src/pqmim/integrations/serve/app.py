"""Addresses of the page, and what they answer."""

import asyncio
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from pqmim import __version__
from pqmim.errors import PqmimError
from pqmim.image.picture import DECODER_ERRORS, read_picture, to_pil
from pqmim.image.picture import FORMATS as READABLE
from pqmim.integrations.qr import write_qr
from pqmim.integrations.serve.guard import Bodies, Guard, Limits
from pqmim.integrations.serve.rivals import at_size, available

if TYPE_CHECKING:
    from pqmim.codec import Codec

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}

Result = TypeVar("Result")


def make_app(codec: "Codec", limits: Limits | None = None, hosts: Sequence[str] = ()) -> Starlette:
    """The page as an ASGI application.

    Args:
        codec: does the work, one request at a time.
        limits: of requests.
        hosts: names and addresses by which it may be called, beside those of this machine, see `Guard`.
    """
    desk = _Desk(codec, limits or Limits())
    routes = [Route(path, _file(name)) for path, name in FILES.items()]
    routes += [
        Route("/api/about", desk.about),
        Route("/api/encode", desk.encode, methods=["POST"]),
        Route("/api/decode", desk.decode, methods=["POST"]),
        Route("/api/rival", desk.rival, methods=["POST"]),
        Route("/api/qr", desk.qr, methods=["POST"]),
    ]
    middleware = [Middleware(Guard, hosts=hosts)]
    handlers = {PqmimError: _told, ValueError: _told, HTTPException: _refused, ClientDisconnect: _gone}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class _Desk:
    """Where requests are served, one after the other: a codec takes all cores that it may have."""

    def __init__(self, codec: "Codec", limits: Limits) -> None:
        self._codec, self._limits = codec, limits
        self._bodies = Bodies(limits)
        self._lock = asyncio.Lock()

    async def about(self, request: Request) -> Response:
        """What the page may offer."""
        facts = {
            "version": __version__,
            "max_bytes": self._limits.max_bytes,
            "max_pixels": self._limits.max_pixels,
            "rivals": available(),
            "looks": await self._at_desk(request, self._has_looks),
            "qr": _has_qr(),
        }
        return JSONResponse(facts)

    def _has_looks(self) -> bool:
        """Whether a vivid look belongs to the weights."""
        try:
            self._codec.render(self._codec.empty(16, 16), look=1.0)
        except PqmimError:
            return False
        return True

    async def encode(self, request: Request) -> Response:
        """A photo to a .pqm file, with facts in a header: `?quality=50`, `?size=200`, `?effort=0`."""
        options: dict[str, Any] = {
            name: _number(request, name) for name in ("quality", "size", "effort") if _has(request, name)
        }

        def work(photo: bytes) -> Response:
            _check_pixels(photo, self._limits.max_pixels)
            start = time.perf_counter()
            encoded = self._codec.encode(photo, max_pixels=self._limits.max_pixels, **options)
            facts = {
                "width": encoded.width,
                "height": encoded.height,
                "quality": encoded.quality,
                "seconds": round(time.perf_counter() - start, 3),
                "notes": encoded.notes,
            }
            return Response(encoded.data, media_type="application/octet-stream", headers=_facts(facts))

        return await self._with_body(request, work)

    async def decode(self, request: Request) -> Response:
        """A file, or its beginning, to a PNG: `?look=0.5`."""
        options: dict[str, Any] = {"look": float(request.query_params["look"])} if _has(request, "look") else {}

        def work(data: bytes) -> Response:
            start = time.perf_counter()
            received = self._codec.receive(data, max_pixels=self._limits.max_pixels)
            rendered = self._codec.render(received, **options)
            facts = {
                "width": rendered.image.width,
                "height": rendered.image.height,
                "share": received.share,
                "seconds": round(time.perf_counter() - start, 3),
                "notes": rendered.notes,
            }
            return Response(_png(rendered.image), media_type="image/png", headers=_facts(facts))

        return await self._with_body(request, work)

    async def rival(self, request: Request) -> Response:
        """A photo by another codec within a number of bytes: `?name=webp&size=5000`."""
        name, size = request.query_params.get("name", ""), _number(request, "size")
        if name not in available():
            raise HTTPException(404, f"no codec {name!r}")

        def work(photo: bytes) -> Response:
            _check_pixels(photo, self._limits.max_pixels)
            rival = at_size(to_pil(read_picture(photo, max_pixels=self._limits.max_pixels).rgb), name, size)
            facts = {"quality": rival.quality, "bytes": len(rival.data)}
            return Response(rival.data, media_type=f"image/{name}", headers=_facts(facts))

        return await self._with_body(request, work)

    async def qr(self, request: Request) -> Response:
        """A file to an SVG of its QR code."""
        if not _has_qr():
            raise HTTPException(404, "QR codes need `pip install '.[qr]'` in a clone of pqmim")
        async with self._bodies.of(request) as data:
            return Response(await run_in_threadpool(write_qr, data, ".svg"), media_type="image/svg+xml")

    async def _with_body(self, request: Request, work: Callable[[bytes], Result]) -> Result:
        """What the work makes of the posted bytes, when its turn has come."""
        async with self._bodies.of(request) as body:
            return await self._at_desk(request, lambda: work(body))

    async def _at_desk(self, request: Request, work: Callable[[], Result]) -> Result:
        """What the work gives, when its turn has come; no work is done for a browser that has gone by then."""
        async with self._lock:
            if await request.is_disconnected():
                raise ClientDisconnect
            return await run_in_threadpool(work)


def _file(name: str) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return FileResponse(PAGE / name)

    return answer


async def _told(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # which nobody reads


def _check_pixels(photo: bytes, most: int) -> None:
    """By its header alone, before a picture is decoded; what is no picture is told when it is read."""
    try:
        width, height = Image.open(io.BytesIO(photo), formats=READABLE).size
    except (*DECODER_ERRORS, Image.DecompressionBombError):
        return
    if width * height > most:
        raise HTTPException(413, f"{width}x{height} are more than {most:,} pixels")


def _facts(facts: dict[str, Any]) -> dict[str, str]:
    return {"X-Facts": json.dumps(facts)}  # ASCII, whatever the notes say


def _has(request: Request, name: str) -> bool:
    return name in request.query_params


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise HTTPException(400, f"{name} is a whole number")
    return int(text)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _has_qr() -> bool:
    try:
        import segno
    except ModuleNotFoundError:
        return False
    return bool(segno)
