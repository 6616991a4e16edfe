"""One encoder over gRPC: handshake, uploads, facts, and its rows as a checked stream.

Rows are never trusted: layout, grid, order, count, length and checksum of every chunk are compared with what
was asked for. The only module of the decoder beside `service.py` that touches protobuf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import xxhash

from decoder_svc.encoders.checks import mismatch, placed_rows, take_header, take_summary
from decoder_svc.encoders.source import FetchReport, LeasedRows, RowPlacement, RowRequest
from decoder_svc.engine.protocol import RowChunk
from decoder_svc.errors import EncoderMismatch, EncoderUnavailable, RowsMismatch
from fovea.contract import frames
from fovea.contract.errors import FoveaError
from fovea.contract.frames import ChunkFrame
from fovea.contract.image import StoredImage, facts_from_proto
from fovea.contract.plan import plan_to_proto
from fovea.contract.remote import RemoteError, error_of
from fovea.contract.rows import RowLayout, layout_from_proto
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from fovea.server.call import REQUEST_ID, current_request_id

ENCODE = "/fovea.encoder.v1.EncoderService/Encode"
UPLOAD_CHUNK = 1024 * 1024
HANDSHAKE_S = 5.0
RETRY_AFTER_S = 1.0
RELEASE_S = 0.2
# gRPC would wait up to two minutes before it looks again for an encoder that was down; retries are ours.
CHANNEL = (("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 2000))
# Failures of the link or the process; anything else is the encoder's considered answer.
LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN)


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


def _event(message: bytes) -> encoder_pb2.EncodeHeader | encoder_pb2.EncodeSummary | ChunkFrame | None:
    """One message of an Encode stream; None for a kind that this version does not know."""
    frame = frames.read(message)
    if frame is not None:
        return frame
    response = encoder_pb2.EncodeResponse.FromString(message)
    kind = response.WhichOneof("event")
    if kind == "chunk":
        chunk = response.chunk
        return ChunkFrame(chunk.first_row, chunk.rows, chunk.data, chunk.xxh3)
    return getattr(response, kind) if kind else None


def _on_behalf() -> tuple[tuple[str, str], ...]:
    """The id of the request that causes this call, so that both logs name it alike."""
    request_id = current_request_id()
    return ((REQUEST_ID, request_id),) if request_id else ()


class RemoteEncoder:
    """A client of one encoder. Cheap to make; connects on first use and again after a loss."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL)
        self._stub = encoder_pb2_grpc.EncoderServiceStub(self._channel)
        self._encode = self._channel.unary_stream(
            ENCODE,
            request_serializer=encoder_pb2.EncodeRequest.SerializeToString,
            response_deserializer=_event,
        )
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
        await self._channel.close()

    async def info(self, deadline: Deadline) -> EncoderInfo:
        """Ask anew. Raises EncoderUnavailable, or EncoderMismatch for a layout that we do not know."""
        reply = await self._call(
            self._stub.GetServerInfo(
                encoder_pb2.GetServerInfoRequest(),
                timeout=deadline.timeout(HANDSHAKE_S),
                metadata=_on_behalf(),
            )
        )
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

    async def handshake(self, fingerprint: str, width: int, levels: int, deadline: Deadline) -> RowLayout:
        """The layout of this encoder's rows, once it is sure that they fit the model. Asked once."""
        info = self._info or await self.info(deadline)
        found = (info.fingerprint, info.layout.width, info.layout.levels)
        if found != (fingerprint, width, levels):
            self._info = None
            raise EncoderMismatch(
                f"encoder {self.address} serves rows of another model",
                encoder=self.address,
                expected=f"{fingerprint[:23]} width {width} levels {levels}",
                actual=f"{found[0][:23]} width {found[1]} levels {found[2]}",
            )
        return info.layout

    def forget(self) -> None:
        """The next handshake asks again: the process behind the address may be another one."""
        self._info = None

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """Raises ImageNotStored (as a RemoteError) where the encoder does not hold it."""
        request = encoder_pb2.DescribeImageRequest(digest=digest)
        reply = await self._call(
            self._stub.DescribeImage(request, timeout=deadline.timeout(), metadata=_on_behalf())
        )
        return self._stored(reply, already=True)

    async def put(self, digest: str, pieces: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        """Upload; `digest` may be empty where the caller did not say. Safe to repeat.

        A failure of `pieces` is passed on. gRPC only cancels the call for it, which would look as if the
        caller had left.
        """
        upload = _Upload(digest, pieces)
        try:
            reply = await self._call(
                self._stub.PutImage(upload.requests(), timeout=deadline.timeout(), metadata=_on_behalf())
            )
        except asyncio.CancelledError:
            if upload.failure is None:
                raise
            raise upload.failure from None
        return self._stored(reply, reply.already_stored)

    def _stored(self, reply: Any, already: bool) -> StoredImage:
        facts, expires = facts_from_proto(reply.facts), reply.expire_time.ToNanoseconds() / 1e9
        return StoredImage(facts, already, expires, self.address)

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> WireFetch:
        return WireFetch(self, wanted, deadline)

    def open_rows(self, wanted: RowRequest, deadline: Deadline) -> grpc.aio.UnaryStreamCall:
        return self._encode(_request(wanted), timeout=deadline.timeout(), metadata=_on_behalf())

    async def place(self, wanted: RowRequest, deadline: Deadline, stored_only: bool) -> RowPlacement:
        """Which rows the plan sends; `wanted` is the whole image. Raises as a stream does."""
        both = wanted.plan.flat_tolerance is not None and not wanted.plan.rows.all
        request = encoder_pb2.PlaceRowsRequest(encode=_request(wanted), stored_only=stored_only, order=both)
        reply = await self._call(
            self._stub.PlaceRows(request, timeout=deadline.timeout(), metadata=_on_behalf())
        )
        placed = placed_rows(self, wanted, reply)
        if not placed.known and not stored_only:
            raise mismatch(self.address, wanted, "their places are not told")
        return placed

    async def lease(self, wanted: RowRequest, deadline: Deadline) -> LeasedRows:
        """The rows in the encoder's arena. Raises as a stream does; a RemoteError where there is no room."""
        request = encoder_pb2.LeaseRowsRequest(encode=_request(wanted), release_ids=self._take_released())
        reply = await self._call(
            self._stub.LeaseRows(request, timeout=deadline.timeout(), metadata=_on_behalf())
        )
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
            with suppress(grpc.aio.AioRpcError):
                request = encoder_pb2.ReleaseRowsRequest(lease_ids=released)
                await self._stub.ReleaseRows(request, timeout=HANDSHAKE_S)

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise self.failure(error) from error

    def failure(self, error: grpc.aio.AioRpcError) -> FoveaError:
        """The encoder's own typed error as it is; a lost link as EncoderUnavailable."""
        remote: RemoteError = error_of(error)
        if remote.code not in LOST or remote.metadata:
            return remote
        self.forget()
        return EncoderUnavailable(
            f"encoder {self.address} cannot be reached",
            retry_after_s=RETRY_AFTER_S,
            encoder=self.address,
        )


@dataclass
class _Upload:
    """The messages of an upload, and what went wrong while its pieces came in."""

    digest: str
    pieces: AsyncIterator[bytes]
    failure: FoveaError | None = None

    async def requests(self) -> AsyncIterator[encoder_pb2.PutImageRequest]:
        yield encoder_pb2.PutImageRequest(header=encoder_pb2.PutImageHeader(digest=self.digest))
        try:
            async for piece in self.pieces:
                for at in range(0, len(piece), UPLOAD_CHUNK):
                    yield encoder_pb2.PutImageRequest(data=piece[at : at + UPLOAD_CHUNK])
        except FoveaError as error:
            self.failure = error
            raise


@dataclass
class WireFetch:
    """The rows of one image over one Encode stream."""

    peer: RemoteEncoder
    wanted: RowRequest
    deadline: Deadline
    report: FetchReport = field(default_factory=FetchReport)
    _next: int = 0

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        call = self.peer.open_rows(self.wanted, self.deadline)
        try:
            async with aclosing(self._read(call)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except grpc.aio.AioRpcError as error:
            raise self.peer.failure(error) from error
        finally:
            call.cancel()  # ends the stream where we left early; does nothing where it has ended

    async def _read(self, call: grpc.aio.UnaryStreamCall) -> AsyncGenerator[RowChunk, None]:
        started = 0.0
        last: RowChunk | None = None
        async for event in call:
            if isinstance(event, encoder_pb2.EncodeHeader):
                started = time.monotonic()
                take_header(self.peer, self.wanted, event, self.report)
            elif isinstance(event, ChunkFrame):
                if not started:
                    raise self._mismatch("rows came before their header")
                chunk = self._checked(event)
                if self._next < self.wanted.rows:
                    yield chunk
                else:
                    last = chunk  # held until the summary is here: who has all rows also has the report
            elif isinstance(event, encoder_pb2.EncodeSummary):
                self.report.transfer_ms = (time.monotonic() - started) * 1000
                self._close(event)
        if last is None or not self.report.rows_digest:
            raise self._mismatch("the stream ended without a summary")
        yield last

    def _checked(self, chunk: ChunkFrame) -> RowChunk:
        row_bytes = self.wanted.layout.row_bytes
        in_order = chunk.first_row == self._next and self._next + chunk.rows <= self.wanted.rows
        if not in_order or chunk.rows == 0 or len(chunk.data) != chunk.rows * row_bytes:
            raise self._mismatch(f"a chunk of {chunk.rows} rows at {chunk.first_row} after {self._next}")
        if xxhash.xxh3_64_intdigest(chunk.data) != chunk.xxh3:
            raise self._mismatch(f"the check of the chunk at row {chunk.first_row} does not fit")
        self._next += chunk.rows
        self.report.wire_bytes += len(chunk.data)
        return RowChunk(chunk.first_row, chunk.rows, chunk.data)

    def _close(self, summary: encoder_pb2.EncodeSummary) -> None:
        if self._next != self.wanted.rows:
            raise self._mismatch(f"{self._next} rows came, expected {self.wanted.rows}")
        take_summary(self.peer, self.wanted, summary, self.report)

    def _mismatch(self, what: str) -> RowsMismatch:
        return mismatch(self.peer.address, self.wanted, what)


def _request(wanted: RowRequest) -> encoder_pb2.EncodeRequest:
    return encoder_pb2.EncodeRequest(
        digest=wanted.digest, plan=plan_to_proto(wanted.plan), fingerprint=wanted.fingerprint
    )
