"""Checks an encoder's replies about rows against the request; only checked facts reach a report."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from math import inf
from typing import Protocol

import numpy as np

from decoder_svc.encoders.source import RowRequest
from decoder_svc.errors import EncoderChanged
from fovea.contract.errors import EncoderMismatch, RowsMismatch, RowsNotFinite
from fovea.contract.image import StoredImage
from fovea.contract.row_stream import RowHeader, RowPlacement, check_kept, kept_bytes
from fovea.contract.text import ImageText
from fovea.finite import first_not_finite
from fovea.hashing import RunningDigest

CHANGED_RETRY_S = 1.0
NAME_CHARS = 256
MAX_TEXT_BYTES = 1024 * 1024
LATEST_S = 253_402_300_800  # the end of a Timestamp's range


class ReplyingEncoder(Protocol):
    """The encoder that sent the reply."""

    address: str

    def forget(self) -> None: ...


def mismatch(wanted: RowRequest, what: str) -> RowsMismatch:
    return RowsMismatch(f"rows of {wanted.digest}: {what}")


def check_finite(wanted: RowRequest, first: int, data: bytes | memoryview) -> None:
    """Raises RowsNotFinite if a row has NaN or infinity. `data` holds whole rows from row `first` on."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, wanted.layout.row_bytes)
    bad = first_not_finite(rows, wanted.layout)
    if bad is not None:
        raise RowsNotFinite(f"rows of {wanted.digest}", first + bad, wanted.layout.dtype.value)


async def check_digest(wanted: RowRequest, received: RunningDigest, announced: str) -> None:
    """Raises RowsMismatch unless the received rows have the digest that the encoder announces."""
    if await received.digest() != announced:
        raise mismatch(wanted, "their digest is not that of the rows received")


def changed(encoder: ReplyingEncoder, what: str) -> EncoderChanged:
    """The error for a restarted encoder; its handshake is forgotten."""
    encoder.forget()
    return EncoderChanged(
        f"an encoder was started again with other settings: {what}", retry_after_s=CHANGED_RETRY_S
    )


def within_wait(ms: float, since: float) -> float:
    """An encoder's time, at most what its caller has waited since `since`, on the monotonic clock."""
    return min(ms, (time.monotonic() - since) * 1000)


def checked_image(address: str, digest: str, stored: StoredImage) -> StoredImage:
    """The image, on this encoder. Raises RowsMismatch for facts of another image or out of range."""
    facts = stored.facts
    shares = (facts.edge_density, facts.uniform_share, facts.kind_confidence)
    valid = (
        facts.digest == digest
        and min(facts.width, facts.height) > 0
        and 0 <= facts.text_height < inf
        and all(0 <= share <= 1 for share in shares)
        and 0 <= stored.expires < LATEST_S
    )
    if not valid:
        raise RowsMismatch(f"an encoder sent impossible facts of {digest}")
    return replace(stored, encoder=address)


def checked_text(digest: str, text: ImageText | None) -> ImageText | None:
    """The text. Raises RowsMismatch for text that no reader reads: no lines, or lines that are none."""
    named = text is None or (text.reader.isprintable() and len(text.reader + text.version) <= NAME_CHARS)
    if text is None or (named and text.possible and text.lines and text.byte_count <= MAX_TEXT_BYTES):
        return text
    raise RowsMismatch(f"an encoder sent impossible text of {digest}")


def check_header(encoder: ReplyingEncoder, wanted: RowRequest, header: RowHeader) -> None:
    """Raises EncoderChanged, EncoderMismatch or RowsMismatch unless the header announces `wanted`."""
    _check_model(encoder, wanted, header)
    if header.rows == wanted.rows and kept_bytes(header.kept) == kept_bytes(wanted.kept):
        return
    what = f"{header.rows} rows or kept indices other than the {wanted.rows} expected"
    if wanted.kept is not None:  # the indices come from an earlier PlaceRows call
        raise changed(encoder, what)
    raise mismatch(wanted, what)


def check_placement(encoder: ReplyingEncoder, wanted: RowRequest, placement: RowPlacement) -> None:
    """`wanted.rows` counts the rows of the whole image. Raises as `check_header` does."""
    header, fail = placement.header, partial(mismatch, wanted)
    _check_model(encoder, wanted, header)
    if not placement.known:
        return
    check_kept(header, wanted.rows, fail)
    encoded = placement.encoded(wanted.plan, wanted.rows)
    if not header.rows <= encoded <= wanted.rows:
        raise fail(f"an order of {encoded} rows, of which {header.rows} are sent")
    if not 0 <= placement.timings["total_ms"] < inf:
        raise fail(f"placed in {placement.timings['total_ms']} ms")


def _check_model(encoder: ReplyingEncoder, wanted: RowRequest, header: RowHeader) -> None:
    """Layout, fingerprint, the encoder's name and grid."""
    if header.layout != wanted.layout:
        raise changed(encoder, "the layout of its rows has changed")
    if header.fingerprint != wanted.fingerprint:
        encoder.forget()
        raise EncoderMismatch("an encoder serves rows of another model")
    if len(header.encoder) > NAME_CHARS or not header.encoder.isprintable():
        raise mismatch(wanted, "the encoder's name is too long or not printable")
    grid = header.count.grid_thw
    if grid != wanted.grid_thw:
        raise mismatch(wanted, f"a grid of {grid}, expected {wanted.grid_thw}")
