"""The interface through which rows reach the decoder.

A fetch streams the checked rows of a `RowRequest`, from memory or over the wire, and reports its cost at the
end. Independent of gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Protocol

import numpy as np

from decoder_svc.engine.protocol import RowChunk
from fovea.contract.errors import about_image
from fovea.contract.plan import EncodePlan
from fovea.contract.row_stream import GridIndices, RowHeader, RowSummary, kept_bytes
from fovea.contract.rows import RowLayout, RowOrigin
from fovea.server.identity import DEFAULT_TENANT


@dataclass(frozen=True, eq=False)
class RowRequest:
    """The rows of an image under a plan, and the properties they must have. A key of caches.

    `kept` holds the kept indices of the merged grid, ascending; None means every row. `shared` says that
    tenants share rows; the encoder still reads the image of `tenant` only.
    """

    digest: str
    plan: EncodePlan
    grid_thw: tuple[int, int, int]
    rows: int
    fingerprint: str
    layout: RowLayout
    kept: GridIndices | None = None
    tenant: str = DEFAULT_TENANT
    shared: bool = False

    @cached_property
    def _key(self) -> tuple[object, ...]:
        """Every field, hashable; without the tenant if tenants share rows."""
        names = [field.name for field in fields(self) if not (self.shared and field.name == "tenant")]
        values = (getattr(self, name) for name in names)
        return tuple(kept_bytes(value) if isinstance(value, np.ndarray) else value for value in values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowRequest) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@dataclass
class FetchReport:
    """The cost of a fetch; valid once the fetch has ended. Times in milliseconds.

    `asked` and `received` are moments of the monotonic clock, in seconds: when the encoder was asked for the
    rows, and when the first arrived. Zero if no encoder was asked.
    """

    origin: RowOrigin = RowOrigin.NONE
    joined: bool = False
    encoder: str = ""
    row_bytes: int = 0
    wire_bytes: int = 0
    rows_digest: str = ""
    encode_ms: float = 0.0
    transfer_ms: float = 0.0
    asked: float = 0.0
    received: float = 0.0

    def note_header(self, header: RowHeader) -> None:
        self.origin, self.joined, self.encoder = header.origin, header.joined, header.encoder

    def note_summary(self, summary: RowSummary, encode_ms: float) -> None:
        self.row_bytes, self.rows_digest = summary.row_bytes, summary.rows_digest
        self.encode_ms = encode_ms


@dataclass(frozen=True)
class LeasedRows:
    """The place of an image's rows in an arena of this host: contiguous, with a checksum per chunk."""

    arena: str
    offset: int
    checks: tuple[int, ...]
    lease: str
    header: RowHeader
    summary: RowSummary
    encode_ms: float
    asked: float


class RowFetch(Protocol):
    """A transfer of rows. Closing the iterator ends it."""

    @property
    def report(self) -> FetchReport: ...

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

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        with about_image(self.path):
            async with aclosing(self.fetch.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
