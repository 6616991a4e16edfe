"""The image of a picture: its bytes, from a data URI or from an allowed host, or the id of a stored file."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence

from starlette.requests import Request

from fovea.client import Image
from fovea.contract.ids import is_digest
from gateway_svc import gateway
from gateway_svc.conversation import Picture
from gateway_svc.errors import UrlRefused
from gateway_svc.fields import wrong

LARGE_CHARACTERS = 256 * 1024
_FILE_ID = re.compile(r"file-([0-9a-f]{64})")
_DATA = re.compile(r"data:(image/[A-Za-z0-9.+-]+)?(?:;[A-Za-z0-9-]+=[A-Za-z0-9._-]+)*;base64,", re.IGNORECASE)


def digest_of(file_id: str) -> str | None:
    """The id of an image, from a file id or as itself. None for any other text."""
    match = _FILE_ID.fullmatch(file_id)
    if match:
        return f"sha256:{match.group(1)}"
    return file_id if is_digest(file_id) else None


def file_id_of(digest: str) -> str:
    """The id under which the Files API knows an image."""
    return f"file-{digest.removeprefix('sha256:')}"


async def load(request: Request, pictures: Sequence[Picture]) -> list[Image]:
    """An image for each picture, in order. Those of URLs are fetched concurrently."""
    tasks = [asyncio.ensure_future(_load(request, picture)) for picture in pictures]
    try:
        return await asyncio.gather(*tasks)
    finally:  # the first failure ends the others
        for task in tasks:
            task.cancel()


async def _load(request: Request, picture: Picture) -> Image:
    digest = digest_of(picture.source)
    if digest is not None:
        return Image(digest, picture.path)
    head = _DATA.match(picture.source)
    if head is not None:
        return Image(await _decoded(picture, head.end()), picture.path)
    if picture.source[:5].lower() == "data:":
        raise wrong(picture.path, "has a data URI that is not an image in base64")
    fetcher = gateway.of(request).fetcher
    if fetcher is None:
        why = (
            "images are not fetched by URL here: send a data URI, or the id of a file. The gateway's setting"
            " `image_hosts` allows hosts"
        )
        raise UrlRefused(picture.path, why)
    return Image(await fetcher.fetch(picture.source, picture.path, request.state.hold), picture.path)


async def _decoded(picture: Picture, at: int) -> bytes:
    text = picture.source[at:]
    try:
        if len(text) > LARGE_CHARACTERS:
            return await asyncio.to_thread(base64.b64decode, text, validate=True)
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong(picture.path, "has a data URI with characters that are not base64") from None
