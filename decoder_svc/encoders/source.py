"""The interface through which rows reach the decoder.

A `RowFetcher` turns a `RowRequest` into a fetch, from memory or over the wire. A fetch streams checked
chunks and reports its cost at the end. Independent of gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from decoder_svc.engine.protocol import RowChunk
from fovea.contract.errors import about_image
from fovea.contract.plan import EncodePlan
from fovea.contract.rows import RowLayout, RowOrigin
from fovea.deadline import Deadline


@dataclass(frozen=True)
class RowRequest:
    """The rows of an image under a plan, and the properties they must have.

    `kept` holds the kept indices in raster order of the merged grid, as little-endian int32; empty means all.
    """

    digest: str
    plan: EncodePlan
    grid_thw: tuple[int, int, int]
    rows: int
    fingerprint: str
    layout: RowLayout
    kept: bytes = b""


@dataclass
class FetchReport:
    """The cost of a fetch; valid once the fetch has ended. Times in milliseconds."""

    origin: RowOrigin = RowOrigin.NONE
    joined: bool = False
    encoder: str = ""
    row_bytes: int = 0
    wire_bytes: int = 0
    rows_digest: str = ""
    encode_ms: float = 0.0
    transfer_ms: float = 0.0


@dataclass(frozen=True)
class RowPlacement:
    """The rows that a plan selects: `kept` as in `RowRequest`, `rows` of the `encoded` rows of the image.

    If not `known`, because only the tower could tell, `rows` counts the whole image.
    """

    known: bool
    kept: bytes
    rows: int
    encoded: int
    report: FetchReport


@dataclass(frozen=True)
class LeasedRows:
    """The place of an image's rows in an arena of this host: contiguous, with a checksum per chunk."""

    arena: str
    offset: int
    checks: tuple[int, ...]
    lease: str
    report: FetchReport


class RowFetch(Protocol):
    """A transfer of rows. Closing the iterator ends it."""

    report: FetchReport

    def chunks(self) -> AsyncGenerator[RowChunk, None]:
        """The rows in order. Raises RowsMismatch, EncoderMismatch, ImageNotStored, EncoderUnavailable."""
        ...


@dataclass
class NamedFetch:
    """A fetch whose errors name the image's field in the request."""

    fetch: RowFetch
    path: str

    @property
    def report(self) -> FetchReport:
        return self.fetch.report

    @report.setter
    def report(self, report: FetchReport) -> None:
        self.fetch.report = report

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        with about_image(self.path):
            async with aclosing(self.fetch.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk


class RowFetcher(Protocol):
    """A source of rows."""

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> RowFetch: ...
