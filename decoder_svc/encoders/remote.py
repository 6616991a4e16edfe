"""Client of an encoder over gRPC: handshake, uploads, image facts, and rows as a checked stream.

No reply is trusted: facts, layout, grid, and the order, count, length and checksum of every chunk are checked
against the request. `link` makes the calls. Apart from `service.py`, this is the only module of the decoder
that handles protobuf messages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

import xxhash
from google.protobuf.message import DecodeError

from decoder_svc.encoders.checks import (
    check_finite,
    mismatch,
    placed_rows,
    stored_image,
    take_header,
    take_summary,
)
from decoder_svc.encoders.link import PROBE_TIMEOUT_S, RETRY_AFTER_S, Link
from decoder_svc.encoders.source import FetchReport, LeasedRows, RowPlacement, RowRequest
from decoder_svc.engine.protocol import RowChunk
from fovea.access.channel import ClientCredentials
from fovea.contract import frames
from fovea.contract.errors import EncoderMismatch, EncoderUnavailable, FoveaError, RowsMismatch
from fovea.contract.frames import ChunkFrame
from fovea.contract.image import StoredImage
from fovea.contract.plan import plan_to_proto
from fovea.contract.rows import RowLayout, layout_from_proto
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2 as pb

UPLOAD_CHUNK = 1024 * 1024
HANDSHAKE_S = 5.0
RELEASE_S = 0.2
LIMIT_S = 20.0
UNKNOWN_EVENTS = 8
"""Consecutive events of unknown kind after which a stream counts as broken."""


@dataclass(frozen=True)
class EncoderInfo:
    """The GetServerInfo reply of an encoder."""

    name: str
    fingerprint: str
    layout: RowLayout
    waiting: int
    running: int
    encodes: int
    arena: str = ""

    @property
    def shape(self) -> tuple[str, int, int]:
        """The properties that must match the decoder's model."""
        return self.fingerprint, self.layout.width, self.layout.levels


def _event(message: bytes) -> pb.EncodeHeader | pb.EncodeSummary | ChunkFrame | None:
    """Parse a message of an Encode stream; None for an unknown kind."""
    frame = frames.read(message)
    if frame is not None:
        return frame
    response = pb.EncodeResponse.FromString(message)
    kind = response.WhichOneof("event")
    if kind == "chunk":
        chunk = response.chunk
        return ChunkFrame(chunk.first_row, chunk.rows, chunk.data, chunk.xxh3)
    return getattr(response, kind) if kind else None


class RemoteEncoder:
    """Client of an encoder. Cheap to create; connects on first use and reconnects after a loss."""

    def __init__(
        self, address: str, limit_s: float = LIMIT_S, credentials: ClientCredentials | None = None
    ) -> None:
        self.address = address
        self.link = Link(address, limit_s, self._completed, self.forget, credentials or ClientCredentials())
        self.known: EncoderInfo | None = None
        self._info: EncoderInfo | None = None
        self._released: list[str] = []
        self._releasing: asyncio.Task[None] | None = None

    @property
    def arena(self) -> str:
        """The last known id of the encoder's arena; empty if there is none."""
        return self._info.arena if self._info else ""

    async def close(self) -> None:
        if self._releasing is not None:
            self._releasing.cancel()
            await self._release()
        await self.link.close()

    async def info(self, deadline: Deadline) -> EncoderInfo:
        """Query the encoder. Raises EncoderUnavailable, or EncoderMismatch for an unknown layout version."""
        reply = await self._hello(deadline, HANDSHAKE_S)
        if not reply.fingerprint:
            raise EncoderUnavailable(
                f"encoder {self.address} is still loading its model",
                retry_after_s=RETRY_AFTER_S,
                encoder=self.address,
            )
        layout = layout_from_proto(reply.layout)
        if layout is None:
            raise EncoderMismatch(
                f"encoder {self.address} serves rows of layout version {reply.layout.version}, unknown here",
                encoder=self.address,
                actual=reply.layout.version,
            )
        load = reply.load
        self._info = EncoderInfo(
            reply.name, reply.fingerprint, layout, load.waiting, load.running, load.encodes, reply.arena
        )
        return self._info

    async def _hello(
        self, deadline: Deadline, at_most: float, connects: bool = False
    ) -> pb.GetServerInfoResponse:
        return await self.link.call(
            "GetServerInfo",
            pb.GetServerInfoRequest(),
            pb.GetServerInfoResponse.FromString,
            deadline,
            at_most=at_most,
            connects=connects,
        )

    async def _completed(self) -> int | None:
        """Images that the encoder's tower has computed; None if it does not answer promptly."""
        try:
            return int((await self._hello(Deadline(), PROBE_TIMEOUT_S, connects=True)).load.encodes)
        except FoveaError:
            return None

    async def handshake(self, fingerprint: str, width: int, levels: int, deadline: Deadline) -> RowLayout:
        """The layout of this encoder's rows. Raises EncoderMismatch unless they fit the model. The answer is
        cached, except for a mismatch: another process may have taken over the address.
        """
        expected = (fingerprint, width, levels)
        if self._info is None or self._info.shape != expected:
            await self.link.reach(deadline)
            self._info = await self.info(deadline)
        info = self._info
        if info.shape != expected:
            raise EncoderMismatch(
                f"encoder {self.address} serves rows of another model",
                encoder=self.address,
                expected=f"{fingerprint[:23]} width {width} levels {levels}",
                actual=f"{info.fingerprint[:23]} width {info.layout.width} levels {info.layout.levels}",
            )
        self.known = info
        return info.layout

    def forget(self) -> None:
        """Make the next handshake query again: another process may have taken over the address."""
        self._info = None

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """Raises ImageNotStored if the encoder does not hold the image."""
        request = pb.DescribeImageRequest(digest=digest)
        parse = pb.DescribeImageResponse.FromString
        reply = await self.link.call("DescribeImage", request, parse, deadline)
        return stored_image(self.address, digest, reply, already=True)

    async def put(self, digest: str, chunks: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        """Upload an image. Safe to repeat. An exception of `chunks` propagates."""
        parse = pb.PutImageResponse.FromString
        reply = await self.link.send("PutImage", _upload(digest, chunks), parse, deadline)
        return stored_image(self.address, digest, reply, reply.already_stored)

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> WireFetch:
        return WireFetch(self, wanted, deadline)

    def open_rows(self, wanted: RowRequest, deadline: Deadline) -> AsyncGenerator[bytes, None]:
        return self.link.stream("Encode", _request(wanted), deadline)

    async def place(self, wanted: RowRequest, deadline: Deadline, stored_only: bool) -> RowPlacement:
        """Locate the rows that the plan selects; `wanted` is the whole image. Raises as `fetch` does."""
        both = wanted.plan.flat_tolerance is not None and not wanted.plan.rows.all
        request = pb.PlaceRowsRequest(encode=_request(wanted), stored_only=stored_only, order=both)
        parse = pb.PlaceRowsResponse.FromString
        reply = await self.link.call("PlaceRows", request, parse, deadline, works=True)
        placed = placed_rows(self, wanted, reply)
        if not placed.known and not stored_only:
            raise mismatch(self.address, wanted, "their indexes are missing")
        return placed

    async def lease(self, wanted: RowRequest, deadline: Deadline) -> LeasedRows:
        """Lease the rows in the encoder's arena. Raises as `fetch` does, or ArenaFull."""
        request = pb.LeaseRowsRequest(encode=_request(wanted), release_ids=self._take_released())
        parse = pb.LeaseRowsResponse.FromString
        reply = await self.link.call("LeaseRows", request, parse, deadline, works=True)
        report = FetchReport()
        try:
            take_header(self, wanted, reply.header, report)
            take_summary(self, wanted, reply.summary, report)
        except FoveaError:
            self.release(reply.lease_id)
            raise
        return LeasedRows(reply.arena, reply.offset_bytes, tuple(reply.xxh3), reply.lease_id, report)

    def release(self, lease: str) -> None:
        """Return a lease with the next LeaseRows, or by ReleaseRows soon after. A lost lease expires."""
        self._released.append(lease)
        if self._releasing is None:
            self._releasing = asyncio.create_task(self._release_later())

    def _take_released(self) -> list[str]:
        released, self._released = self._released, []
        return released

    async def _release_later(self) -> None:
        while self._released:
            await asyncio.sleep(RELEASE_S)
            await self._release()
        self._releasing = None

    async def _release(self) -> None:
        if released := self._take_released():
            request, parse = pb.ReleaseRowsRequest(lease_ids=released), pb.ReleaseRowsResponse.FromString
            with suppress(FoveaError):
                await self.link.call("ReleaseRows", request, parse, Deadline(), at_most=HANDSHAKE_S)


async def _upload(digest: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[pb.PutImageRequest]:
    yield pb.PutImageRequest(header=pb.PutImageHeader(digest=digest))
    async for chunk in chunks:
        for at in range(0, len(chunk), UPLOAD_CHUNK):
            yield pb.PutImageRequest(data=chunk[at : at + UPLOAD_CHUNK])


@dataclass
class WireFetch:
    """The rows of an image over an Encode stream."""

    encoder: RemoteEncoder
    wanted: RowRequest
    deadline: Deadline
    report: FetchReport = field(default_factory=FetchReport)
    _next: int = 0
    _started: float = 0.0
    _ended: bool = False
    _unknown: int = 0

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        last: RowChunk | None = None
        async with aclosing(self.encoder.open_rows(self.wanted, self.deadline)) as messages:
            async for message in messages:
                chunk = self._take(self._parsed(message))
                if chunk is not None and self._next < self.wanted.rows:
                    yield chunk
                last = chunk or last  # the last chunk waits for the summary, so that the report is complete
        if last is None or not self.report.rows_digest:
            raise self._mismatch("the stream ended without a summary")
        yield last

    def _parsed(self, message: bytes) -> pb.EncodeHeader | pb.EncodeSummary | ChunkFrame | None:
        try:
            return _event(message)
        except DecodeError:
            raise self.encoder.link.unreadable() from None

    def _take(self, event: pb.EncodeHeader | pb.EncodeSummary | ChunkFrame | None) -> RowChunk | None:
        """The rows of an event, if any. A stream is a header, then chunks, then a summary."""
        if self._ended or (isinstance(event, pb.EncodeHeader) and self._started):
            raise self._mismatch("the stream continues after its summary, or has two headers")
        if isinstance(event, pb.EncodeHeader):
            self._started = time.monotonic()
            take_header(self.encoder, self.wanted, event, self.report)
            return None
        if event is None:
            self._unknown += 1
            if self._unknown == UNKNOWN_EVENTS:
                raise self._mismatch(f"{UNKNOWN_EVENTS} consecutive events of unknown kind")
            return None
        if not self._started:
            raise self._mismatch("rows came before their header")
        if isinstance(event, ChunkFrame):
            self._unknown = 0
            return self._checked(event)
        self.report.transfer_ms = (time.monotonic() - self._started) * 1000
        self._close(event)
        return None

    def _checked(self, chunk: ChunkFrame) -> RowChunk:
        row_bytes = self.wanted.layout.row_bytes
        in_order = chunk.first_row == self._next and self._next + chunk.rows <= self.wanted.rows
        if not in_order or chunk.rows == 0 or len(chunk.data) != chunk.rows * row_bytes:
            raise self._mismatch(f"a chunk of {chunk.rows} rows at {chunk.first_row} after {self._next}")
        if xxhash.xxh3_64_intdigest(chunk.data) != chunk.xxh3:
            raise self._mismatch(f"wrong checksum of the chunk at row {chunk.first_row}")
        check_finite(self.encoder.address, self.wanted, chunk.first_row, chunk.data)
        self._next += chunk.rows
        self.report.wire_bytes += len(chunk.data)
        return RowChunk(chunk.first_row, chunk.rows, chunk.data)

    def _close(self, summary: pb.EncodeSummary) -> None:
        if self._next != self.wanted.rows:
            raise self._mismatch(f"{self._next} rows came, expected {self.wanted.rows}")
        take_summary(self.encoder, self.wanted, summary, self.report)
        self._ended = True

    def _mismatch(self, what: str) -> RowsMismatch:
        return mismatch(self.encoder.address, self.wanted, what)


def _request(wanted: RowRequest) -> pb.EncodeRequest:
    return pb.EncodeRequest(
        digest=wanted.digest, plan=plan_to_proto(wanted.plan), fingerprint=wanted.fingerprint
    )
