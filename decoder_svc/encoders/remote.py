"""One encoder over gRPC: handshake, uploads, facts, and its rows as a checked stream.

Nothing that it says is trusted: facts, layout, grid, order, count, length and checksum of every chunk are
compared with what was asked for. `link` makes the calls; beside `service.py` this is the only module of the
decoder that touches protobuf.
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
from decoder_svc.encoders.link import RETRY_AFTER_S, SIGN_OF_LIFE_S, Link
from decoder_svc.encoders.source import FetchReport, LeasedRows, RowPlacement, RowRequest
from decoder_svc.engine.protocol import RowChunk
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
"""Events in a row that this version does not know, before a stream counts as one that brings nothing."""


@dataclass(frozen=True)
class EncoderInfo:
    """What an encoder says of itself."""

    name: str
    fingerprint: str
    layout: RowLayout
    waiting: int
    running: int
    encodes: int
    arena: str = ""

    @property
    def shape(self) -> tuple[str, int, int]:
        """What its rows must have in common with the decoder's model."""
        return self.fingerprint, self.layout.width, self.layout.levels


def _event(message: bytes) -> pb.EncodeHeader | pb.EncodeSummary | ChunkFrame | None:
    """One message of an Encode stream; None for a kind that this version does not know."""
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
    """A client of one encoder. Cheap to make; connects on first use and again after a loss."""

    def __init__(self, address: str, limit_s: float = LIMIT_S) -> None:
        self.address = address
        self.link = Link(address, limit_s, self._completed, self.forget)
        self.known: EncoderInfo | None = None
        self._info: EncoderInfo | None = None
        self._released: list[str] = []
        self._releasing: asyncio.Task[None] | None = None

    @property
    def arena(self) -> str:
        """The id of its arena, as it was told last; empty where none was."""
        return self._info.arena if self._info else ""

    async def close(self) -> None:
        if self._releasing is not None:
            self._releasing.cancel()
            await self._release()
        await self.link.close()

    async def info(self, deadline: Deadline) -> EncoderInfo:
        """Ask anew. Raises EncoderUnavailable, or EncoderMismatch for a layout that we do not know."""
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
        return await self.link.ask(
            "GetServerInfo",
            pb.GetServerInfoRequest(),
            pb.GetServerInfoResponse.FromString,
            deadline,
            at_most=at_most,
            connects=connects,
        )

    async def _completed(self) -> int | None:
        """How many images its tower has computed; None where it does not say so at once."""
        try:
            return int((await self._hello(Deadline(), SIGN_OF_LIFE_S, connects=True)).load.encodes)
        except FoveaError:
            return None

    async def handshake(self, fingerprint: str, width: int, levels: int, deadline: Deadline) -> RowLayout:
        """The layout of this encoder's rows, once it is sure that they fit the model. Asked once, and again
        where they did not: the process behind the address may be another one.
        """
        expected = (fingerprint, width, levels)
        if self._info is None or self._info.shape != expected:
            await self.link.reach(deadline)
            self._info = await self.info(deadline)
        found = self._info
        if found.shape != expected:
            raise EncoderMismatch(
                f"encoder {self.address} serves rows of another model",
                encoder=self.address,
                expected=f"{fingerprint[:23]} width {width} levels {levels}",
                actual=f"{found.fingerprint[:23]} width {found.layout.width} levels {found.layout.levels}",
            )
        self.known = found
        return found.layout

    def forget(self) -> None:
        """The next handshake asks again: the process behind the address may be another one."""
        self._info = None

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """Raises ImageNotStored where the encoder does not hold it."""
        request = pb.DescribeImageRequest(digest=digest)
        parse = pb.DescribeImageResponse.FromString
        reply = await self.link.ask("DescribeImage", request, parse, deadline)
        return stored_image(self.address, digest, reply, already=True)

    async def put(self, digest: str, pieces: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        """Upload. Safe to repeat. A failure of `pieces` is passed on."""
        parse = pb.PutImageResponse.FromString
        reply = await self.link.send("PutImage", _upload(digest, pieces), parse, deadline)
        return stored_image(self.address, digest, reply, reply.already_stored)

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> WireFetch:
        return WireFetch(self, wanted, deadline)

    def open_rows(self, wanted: RowRequest, deadline: Deadline) -> AsyncGenerator[bytes, None]:
        return self.link.stream("Encode", _request(wanted), deadline)

    async def place(self, wanted: RowRequest, deadline: Deadline, stored_only: bool) -> RowPlacement:
        """Which rows the plan sends; `wanted` is the whole image. Raises as a stream does."""
        both = wanted.plan.flat_tolerance is not None and not wanted.plan.rows.all
        request = pb.PlaceRowsRequest(encode=_request(wanted), stored_only=stored_only, order=both)
        parse = pb.PlaceRowsResponse.FromString
        reply = await self.link.ask("PlaceRows", request, parse, deadline, works=True)
        placed = placed_rows(self, wanted, reply)
        if not placed.known and not stored_only:
            raise mismatch(self.address, wanted, "their places are not told")
        return placed

    async def lease(self, wanted: RowRequest, deadline: Deadline) -> LeasedRows:
        """The rows in the encoder's arena. Raises as a stream does; ArenaFull where there is no room."""
        request = pb.LeaseRowsRequest(encode=_request(wanted), release_ids=self._take_released())
        parse = pb.LeaseRowsResponse.FromString
        reply = await self.link.ask("LeaseRows", request, parse, deadline, works=True)
        report = FetchReport()
        try:
            take_header(self, wanted, reply.header, report)
            take_summary(self, wanted, reply.summary, report)
        except FoveaError:
            self.release(reply.lease_id)
            raise
        return LeasedRows(reply.arena, reply.offset_bytes, tuple(reply.xxh3), reply.lease_id, report)

    def release(self, lease: str) -> None:
        """Give a lease back: with the next one, or alone where none follows. Otherwise it just ends."""
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
                await self.link.ask("ReleaseRows", request, parse, Deadline(), at_most=HANDSHAKE_S)


async def _upload(digest: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[pb.PutImageRequest]:
    yield pb.PutImageRequest(header=pb.PutImageHeader(digest=digest))
    async for piece in pieces:
        for at in range(0, len(piece), UPLOAD_CHUNK):
            yield pb.PutImageRequest(data=piece[at : at + UPLOAD_CHUNK])


@dataclass
class WireFetch:
    """The rows of one image over one Encode stream."""

    peer: RemoteEncoder
    wanted: RowRequest
    deadline: Deadline
    report: FetchReport = field(default_factory=FetchReport)
    _next: int = 0
    _started: float = 0.0
    _ended: bool = False
    _unknown: int = 0

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        last: RowChunk | None = None
        async with aclosing(self.peer.open_rows(self.wanted, self.deadline)) as messages:
            async for message in messages:
                chunk = self._take(self._parsed(message))
                if chunk is not None and self._next < self.wanted.rows:
                    yield chunk
                last = chunk or last  # held until the summary is here: who has all rows also has the report
        if last is None or not self.report.rows_digest:
            raise self._mismatch("the stream ended without a summary")
        yield last

    def _parsed(self, message: bytes) -> pb.EncodeHeader | pb.EncodeSummary | ChunkFrame | None:
        try:
            return _event(message)
        except DecodeError:
            raise self.peer.link.unreadable() from None

    def _take(self, event: pb.EncodeHeader | pb.EncodeSummary | ChunkFrame | None) -> RowChunk | None:
        """The rows of an event, if it has any. A header, chunks, a summary: in this order, and each once."""
        if self._ended or (isinstance(event, pb.EncodeHeader) and self._started):
            raise self._mismatch("the stream goes on after its summary, or begins twice")
        if isinstance(event, pb.EncodeHeader):
            self._started = time.monotonic()
            take_header(self.peer, self.wanted, event, self.report)
            return None
        if event is None:
            self._unknown += 1
            if self._unknown == UNKNOWN_EVENTS:
                raise self._mismatch(f"{UNKNOWN_EVENTS} events that are neither rows nor their end")
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
            raise self._mismatch(f"the check of the chunk at row {chunk.first_row} does not fit")
        check_finite(self.peer.address, self.wanted, chunk.first_row, chunk.data)
        self._next += chunk.rows
        self.report.wire_bytes += len(chunk.data)
        return RowChunk(chunk.first_row, chunk.rows, chunk.data)

    def _close(self, summary: pb.EncodeSummary) -> None:
        if self._next != self.wanted.rows:
            raise self._mismatch(f"{self._next} rows came, expected {self.wanted.rows}")
        take_summary(self.peer, self.wanted, summary, self.report)
        self._ended = True

    def _mismatch(self, what: str) -> RowsMismatch:
        return mismatch(self.peer.address, self.wanted, what)


def _request(wanted: RowRequest) -> pb.EncodeRequest:
    return pb.EncodeRequest(
        digest=wanted.digest, plan=plan_to_proto(wanted.plan), fingerprint=wanted.fingerprint
    )
