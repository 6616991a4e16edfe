"""The page, and the JSON endpoints under /page/api/ that it needs beside those of the OpenAI API.

Each endpoint reads JSON or the bytes of a file, calls the decoder with the caller's token, and returns values
of the contract as JSON. A FoveaError becomes an HTTP error as everywhere in the gateway.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from fovea.client import AsyncClient, Size, pdf
from fovea.contract.budget import ReductionMode
from fovea.contract.ids import is_digest
from fovea.contract.image import StoredImage
from gateway_svc import gateway
from gateway_svc.body import pieces
from gateway_svc.endpoint import Endpoint, json_route, route
from gateway_svc.fields import Fields, wrong
from gateway_svc.page_plan import PlanQuestion, ladder, server_plan
from gateway_svc.page_usage import usage

FOLDER = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob:",
        "connect-src 'self'", "form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
MAX_PDF_PAGES = 8
"""Pages of a PDF that are drawn in a call."""
PDF_READERS = 2
"""PDFs that are read at the same time, each in a process of its own."""
MAX_HOURS = 24 * 31
MAX_SIDE = 1 << 20


def routes() -> list[BaseRoute]:
    """The page at `/`, its files, and its endpoints."""
    pages = PdfPages()
    return [
        Route("/", _file("index.html")),
        *(Route(f"/page/{path.name}", _file(path.name)) for path in sorted(FOLDER.iterdir())),
        route("/page/api/info", info),
        file_route("/page/api/images", put_image),
        file_route("/page/api/pages", pages.draw),
        json_route("/page/api/plans", plans),
        route("/page/api/usage", read_usage),
    ]


def file_route(path: str, handler: Callable[[Request, bytes], Awaitable[Response]]) -> BaseRoute:
    """POST of the bytes of a file."""
    return Route(path, Endpoint(handler, _read_bytes, path), methods=["POST"])


async def _read_bytes(request: Request) -> bytes:
    return b"".join([piece async for piece in pieces(request)])


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    path = FOLDER / name

    async def send(request: Request) -> Response:
        return FileResponse(path, media_type=TYPES[path.suffix], headers=HEADERS)

    return send


async def info(request: Request) -> Response:
    """The model, what it says about itself, and its state. Not cached: the decoder checks the token."""
    described = await _calling(request).info()
    details, limits = described.details, described.limits
    return JSONResponse(
        {
            "model": described.model,
            "version": described.version,
            "state": described.state,
            "notice": details["model_notice"],
            "max_image_bytes": limits["max_image_bytes"],
            "max_new_tokens": limits["max_new_tokens"],
        }
    )


async def put_image(request: Request, data: bytes) -> Response:
    """Store an image file. Returns its facts."""
    stored = await _calling(request).put(data)
    return JSONResponse(_stored(stored))


def _stored(stored: StoredImage) -> dict[str, Any]:
    facts = stored.facts
    return {
        "digest": facts.digest,
        "format": facts.format,
        "byte_size": facts.byte_size,
        "size": [facts.width, facts.height],
        "kind": facts.kind.value.lower(),
        "text_height": facts.text_height,
        "uniform_share": facts.uniform_share,
        "already": stored.already,
    }


class PdfPages:
    """Draws pages of PDFs, a few files at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(PDF_READERS)

    async def draw(self, request: Request, data: bytes) -> Response:
        """The first pages of a PDF as PNG files."""
        async with self._turns:
            count = await asyncio.to_thread(pdf.page_count, data)
            drawn = await asyncio.to_thread(pdf.pages, data, f"1-{min(count, MAX_PDF_PAGES)}")
        files = [base64.b64encode(page).decode("ascii") for page in drawn]
        return JSONResponse({"count": count, "pages": files})


async def plans(request: Request, fields: Fields) -> Response:
    """The plan of an image under the server's defaults, or with `ladder` every stop of the slider."""
    whole = fields.flag("ladder")
    asked, client = _question(fields), _calling(request)
    described = await gateway.of(request).info(request)
    stops = await ladder(client, asked, described) if whole else [await server_plan(client, asked)]
    facts = (await client.describe(asked.source)).facts if isinstance(asked.source, str) else None
    readable_px = described.details["readable_text_px"]
    return JSONResponse({"stops": [stop.as_json(facts, readable_px) for stop in stops]})


async def read_usage(request: Request) -> Response:
    """The usage of the last `hours`."""
    given = request.query_params.get("hours", "24")
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= MAX_HOURS:
        raise wrong("hours", f"must be an integer from 1 to {MAX_HOURS}")
    return JSONResponse(await usage(_calling(request), int(given)))


def _calling(request: Request) -> AsyncClient:
    return gateway.of(request).calling(request)


def _question(fields: Fields) -> PlanQuestion:
    """Raises InvalidArgument for the first field that is not as described."""
    reduction = fields.choice("reduction", *ReductionMode)
    asked = PlanQuestion(
        _source(fields),
        fields.text("question") or "",
        bool(fields.flag("flat")),
        ReductionMode(reduction) if reduction else None,
    )
    fields.close()
    return asked


def _source(fields: Fields) -> str | Size:
    digest, size = fields.text("digest"), fields.array("size")
    if digest is not None:
        if not is_digest(digest):
            raise wrong("digest", "must be the id of a stored image, sha256: and 64 hexadecimal digits")
        return digest
    if size is None or len(size) != 2 or not all(type(side) is int and 0 < side < MAX_SIDE for side in size):
        raise wrong("size", f"must be [width, height] below {MAX_SIDE}, unless `digest` names a stored image")
    return Size(*size)
