"""The seam through which rows reach the decoder.

A `RowFetcher` turns (image, plan) into a fetch: over the wire, or out of memory before it. A fetch streams
checked chunks and afterwards tells what it cost. Nothing here knows gRPC.
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
    """The rows of one image under one plan, and what they must look like.

    `kept` are their places in raster order of the merged grid, as little-endian int32; empty, they are all.
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
    """What fetching cost; true once the fetch has ended. Times in milliseconds."""

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
    """Which rows a plan sends, as `RowRequest.kept` says it; `encoded` of the image there are in all.

    Where it is not `known`, because only the tower could tell, `rows` are those of the whole image.
    """

    known: bool
    kept: bytes
    rows: int
    encoded: int
    report: FetchReport


@dataclass(frozen=True)
class LeasedRows:
    """Where the rows of one image lie in an arena of this host: one behind the other, a check a chunk."""

    arena: str
    offset: int
    checks: tuple[int, ...]
    lease: str
    report: FetchReport


class RowFetch(Protocol):
    """Rows on their way. Closing the iterator ends the transfer."""

    report: FetchReport

    def chunks(self) -> AsyncGenerator[RowChunk, None]:
        """The rows in order. Raises RowsMismatch, EncoderMismatch, ImageNotStored, EncoderUnavailable."""
        ...


@dataclass
class NamedFetch:
    """A fetch whose failures name the field of the request that holds the image."""

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
    """Somewhere rows can be had from."""

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> RowFetch: ...
