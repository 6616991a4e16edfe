"""Reads the body of a request within limits: bytes, time, and the bytes of all running requests together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request

from gateway_svc import gateway
from gateway_svc.errors import BodyInvalid, BodySlow, BodyTooLarge, ClientGone
from gateway_svc.fields import Fields

LARGE_BYTES = 256 * 1024
"""A body above this size is parsed in a thread, so that other streams go on meanwhile."""


async def pieces(request: Request) -> AsyncGenerator[bytes, None]:
    """The parts of the body as they arrive. Raises BodyTooLarge, BodySlow, ServerBusy or ClientGone."""
    config = gateway.of(request).config
    left = config.max_body_bytes
    if _announced(request) > left:
        raise BodyTooLarge(left)
    while True:
        try:
            async with asyncio.timeout(config.idle_s):
                message = await request.receive()
        except TimeoutError:
            raise BodySlow(config.idle_s) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        left -= len(piece)
        if left < 0:
            raise BodyTooLarge(config.max_body_bytes)
        request.state.hold(len(piece))
        yield piece
        if not message.get("more_body", False):
            return


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0


async def read_bytes(request: Request) -> bytes:
    """The whole body."""
    return b"".join([piece async for piece in pieces(request)])


async def read_json(request: Request) -> Fields:
    """The fields of a JSON object. Raises BodyInvalid for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page of another site may send other types without asking.
        raise BodyInvalid("must be JSON, with the header `content-type: application/json`")
    data = await read_bytes(request)
    parsed = await asyncio.to_thread(_parse, data) if len(data) > LARGE_BYTES else _parse(data)
    if not isinstance(parsed, dict):
        raise BodyInvalid("must be a JSON object")
    return Fields(parsed)


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except BodyInvalid:
        raise
    except (ValueError, RecursionError):
        raise BodyInvalid("is not valid JSON") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A field that is there twice has no certain value."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BodyInvalid(f"has the field {twice[:80]!r} twice")
    return result


def _no_constant(name: str) -> Any:
    raise BodyInvalid(f"has {name}, which is not JSON")
