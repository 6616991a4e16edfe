"""Client of an encoder over gRPC: handshake, uploads, image facts, and rows as a checked stream.

No reply is trusted: facts, layout, grid, and the order, count, length and checksum of every chunk are checked
against the request. `link` makes the calls. Below `service.py` and `convert.py`, only this module and `link`
handle protobuf messages.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial

from google.protobuf.message import DecodeError

from decoder_svc.encoders.checks import (
    check_digest,
    check_finite,
    check_header,
    check_placement,
    checked_image,
    checked_text,
    mismatch,
    within_wait,
)
from decoder_svc.encoders.link import PROBE_TIMEOUT_S, RETRY_AFTER_S, Link
from decoder_svc.encoders.source import FetchReport, LeasedRows, RowRequest
from decoder_svc.engine.protocol import RowChunk
from decoder_svc.errors import EncoderOutdated
from fovea.access.channel import ClientCredentials
from fovea.contract.cache import Deleted, deleted_from_proto
from fovea.contract.errors import EncoderMismatch, EncoderUnavailable, FoveaError
from fovea.contract.image import StoredImage, stored_from_proto
from fovea.contract.plan import plan_to_proto
from fovea.contract.row_stream import (
    RowEvent,
    RowHeader,
    RowPlacement,
    RowStream,
    RowSummary,
    check_summary,
    header_from_proto,
    placement_from_proto,
    read_event,
    summary_from_proto,
)
from fovea.contract.rows import RowLayout, layout_from_proto
from fovea.contract.text import ImageText, text_from_proto
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2 as pb
from fovea.hashing import RunningDigest

UPLOAD_CHUNK = 1024 * 1024
HANDSHAKE_S = 5.0
RELEASE_S = 0.2
LIMIT_S = 20.0


@dataclass(frozen=True)
class ExpectedModel:
    """The decoder's model, which the rows of every encoder must match."""

    fingerprint: str
    width: int
    levels: int

    def __str__(self) -> str:
        return f"{self.fingerprint[:23]} width {self.width} levels {self.levels}"


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
    def model(self) -> ExpectedModel:
        return ExpectedModel(self.fingerprint, self.layout.width, self.layout.levels)


class RemoteEncoder:
    """Client of an encoder. Cheap to create; connects on first use and reconnects after a loss.

    `replaceable` tells whether another encoder can take its calls.
    """

    def __init__(
        self,
        address: str,
        limit_s: float = LIMIT_S,
        credentials: ClientCredentials | None = None,
        replaceable: Callable[[], bool] = lambda: False,
        checks_digest: bool = False,
    ) -> None:
        self.address = address
        self.checks_digest = checks_digest
        access = credentials or ClientCredentials()
        self.link = Link(address, limit_s, self._completed, self._serves, self.forget, access, replaceable)
        self.known: EncoderInfo | None = None
        self._info: EncoderInfo | None = None
        self._lacks_placement = False
        self._released: defaultdict[str, list[str]] = defaultdict(list)
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
            raise EncoderUnavailable("an encoder is still loading its model", retry_after_s=RETRY_AFTER_S)
        layout = layout_from_proto(reply.layout)
        if layout is None:
            raise EncoderMismatch(
                f"an encoder serves rows of layout version {reply.layout.version}, unknown here",
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
        reply = await self._probed()
        return None if reply is None else int(reply.load.encodes)

    async def _serves(self) -> bool:
        """Whether the encoder has loaded its model. An encoder that still loads answers late, and refuses."""
        reply = await self._probed()
        return reply is not None and bool(reply.fingerprint)

    async def _probed(self) -> pb.GetServerInfoResponse | None:
        try:
            return await self._hello(Deadline(), PROBE_TIMEOUT_S, connects=True)
        except FoveaError:
            return None

    async def handshake(self, expected: ExpectedModel, deadline: Deadline) -> RowLayout:
        """The layout of this encoder's rows. Raises EncoderMismatch unless they fit the model. The answer is
        cached, except for a mismatch: another process may have taken over the address.
        """
        if self._info is None or self._info.model != expected:
            self.link.check_closed(deadline)
            self._info = await self.info(deadline)
        info = self._info
        if info.model != expected:
            raise EncoderMismatch(
                "an encoder serves rows of another model",
                expected=expected,
                actual=info.model,
            )
        self.known = info
        return info.layout

    def forget(self) -> None:
        """Make the next handshake query again: another process may have taken over the address."""
        self._info = None
        self._lacks_placement = False

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """Raises ImageNotStored if the encoder does not hold the image."""
        request = pb.DescribeImageRequest(digest=digest)
        parse = pb.DescribeImageResponse.FromString
        reply = await self.link.call("DescribeImage", request, parse, deadline)
        return checked_image(self.address, digest, stored_from_proto(reply))

    async def read_text(self, digest: str, deadline: Deadline, stored_only: bool) -> ImageText | None:
        """The text of a stored image; None if it has not been read yet and `stored_only` forbids to wait. Its
        reader may be slow: a deadline that passes says nothing of the encoder.
        """
        request = pb.ReadTextRequest(digest=digest, stored_only=stored_only)
        parse, timeout = pb.ReadTextResponse.FromString, deadline.timeout()
        reply = await self.link.call("ReadText", request, parse, deadline, at_most=timeout)
        return checked_text(digest, text_from_proto(reply))

    async def put(self, digest: str, chunks: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        """Upload an image. Safe to repeat. An exception of `chunks` propagates."""
        parse = pb.PutImageResponse.FromString
        reply = await self.link.send("PutImage", _upload(digest, chunks), parse, deadline)
        return checked_image(self.address, digest, stored_from_proto(reply))

    async def delete(self, tenant: str, digest: str, deadline: Deadline) -> Deleted:
        """Delete an image of a tenant and the rows of its pixels."""
        request, parse = pb.DeleteImageRequest(digest=digest), pb.DeleteImageResponse.FromString
        return deleted_from_proto(
            await self.link.call("DeleteImage", request, parse, deadline, tenant=tenant)
        )

    async def purge(self, tenant: str, deadline: Deadline) -> Deleted:
        """Delete everything of a tenant."""
        request, parse = pb.PurgeTenantRequest(tenant=tenant), pb.PurgeTenantResponse.FromString
        return deleted_from_proto(
            await self.link.call("PurgeTenant", request, parse, deadline, tenant=tenant)
        )

    def check_selects(self, wanted: RowRequest) -> None:
        """Raises EncoderOutdated if the encoder lacks PlaceRows and the pixels decide which rows are wanted:
        it would not know all of the plan, and select others.
        """
        if self._lacks_placement and wanted.plan.by_content:
            raise EncoderOutdated

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> WireFetch:
        return WireFetch(self, wanted, deadline)

    def open_rows(self, wanted: RowRequest, deadline: Deadline) -> AsyncGenerator[bytes, None]:
        return self.link.stream("Encode", _request(wanted), deadline, wanted.tenant)

    async def place(self, wanted: RowRequest, deadline: Deadline, stored_only: bool) -> RowPlacement:
        """Locate the rows that the plan selects; `wanted` is the whole image. Raises as `fetch` does."""
        both = wanted.plan.flat_tolerance is not None and not wanted.plan.rows.all
        request = pb.PlaceRowsRequest(encode=_request(wanted), stored_only=stored_only, order=both)
        parse, began = pb.PlaceRowsResponse.FromString, time.monotonic()
        try:
            reply = await self.link.call(
                "PlaceRows", request, parse, deadline, works=True, tenant=wanted.tenant
            )
        except EncoderOutdated:
            self._lacks_placement = True
            raise
        placement = placement_from_proto(reply)
        check_placement(self, wanted, placement)
        if not placement.known and not stored_only:
            raise mismatch(wanted, "their indexes are missing")
        total_ms = within_wait(placement.timings["total_ms"], began)
        return replace(placement, timings={**placement.timings, "total_ms": total_ms})

    async def lease(self, wanted: RowRequest, deadline: Deadline) -> LeasedRows:
        """Lease the rows in the encoder's arena. Raises as `fetch` does, or ArenaFull."""
        request = pb.LeaseRowsRequest(encode=_request(wanted), release_ids=self._take_released(wanted.tenant))
        parse, began = pb.LeaseRowsResponse.FromString, time.monotonic()
        reply = await self.link.call("LeaseRows", request, parse, deadline, works=True, tenant=wanted.tenant)
        header, summary = header_from_proto(reply.header), summary_from_proto(reply.summary)
        try:
            check_header(self, wanted, header)
            check_summary(summary, wanted.rows, wanted.layout, partial(mismatch, wanted))
        except FoveaError:
            self.release(reply.lease_id, wanted.tenant)
            raise
        encode_ms = within_wait(summary.timings["total_ms"], began)
        checks = tuple(reply.xxh3)
        return LeasedRows(
            reply.arena, reply.offset_bytes, checks, reply.lease_id, header, summary, encode_ms, began
        )

    def release(self, lease: str, tenant: str) -> None:
        """Return a lease with the tenant's next LeaseRows, or by ReleaseRows soon. A lost one expires."""
        self._released[tenant].append(lease)
        if self._releasing is None:
            self._releasing = asyncio.create_task(self._release_later())

    def _take_released(self, tenant: str) -> list[str]:
        return self._released.pop(tenant, [])

    async def _release_later(self) -> None:
        while self._released:
            await asyncio.sleep(RELEASE_S)
            await self._release()
        self._releasing = None

    async def _release(self) -> None:
        parse = pb.ReleaseRowsResponse.FromString
        for tenant in list(self._released):
            request = pb.ReleaseRowsRequest(lease_ids=self._take_released(tenant))
            with suppress(FoveaError):
                await self.link.call(
                    "ReleaseRows", request, parse, Deadline(), at_most=HANDSHAKE_S, tenant=tenant
                )


async def _upload(digest: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[pb.PutImageRequest]:
    yield pb.PutImageRequest(header=pb.PutImageHeader(digest=digest))
    async for chunk in chunks:
        for at in range(0, len(chunk), UPLOAD_CHUNK):
            yield pb.PutImageRequest(data=chunk[at : at + UPLOAD_CHUNK])


class WireFetch:
    """The rows of an image over an Encode stream."""

    def __init__(
        self,
        encoder: RemoteEncoder,
        wanted: RowRequest,
        deadline: Deadline,
        report: FetchReport | None = None,
    ) -> None:
        self.report = report or FetchReport()
        self._encoder = encoder
        self._wanted = wanted
        self._deadline = deadline
        self._stream = RowStream(partial(mismatch, wanted))
        self._received = RunningDigest()
        self._opened = self._started = 0.0

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        last: RowChunk | None = None
        self._opened = time.monotonic()
        async with aclosing(self._encoder.open_rows(self._wanted, self._deadline)) as messages:
            async for message in messages:
                chunk = self._take(self._parsed(message))
                if chunk is not None and self._stream.next_row < self._wanted.rows:
                    yield chunk
                last = chunk or last  # the last chunk waits for the summary, so that the report is complete
        self._stream.end()
        if self._encoder.checks_digest:
            await check_digest(self._wanted, self._received, self.report.rows_digest)
        if last is not None:
            yield last

    def _parsed(self, message: bytes) -> RowEvent | None:
        try:
            return read_event(message)
        except DecodeError:
            raise self._encoder.link.unreadable() from None

    def _take(self, event: RowEvent | None) -> RowChunk | None:
        """The rows of an event, if any."""
        if isinstance(event, RowHeader):
            check_header(self._encoder, self._wanted, event)
        self._stream.take(event)
        if isinstance(event, RowHeader):
            self._started = time.monotonic()
            self.report.asked, self.report.received = self._opened, self._started
            self.report.note_header(event)
        elif isinstance(event, RowSummary):
            self.report.transfer_ms = (time.monotonic() - self._started) * 1000
            self.report.note_summary(event, within_wait(event.timings["total_ms"], self._opened))
        elif event is not None:
            check_finite(self._wanted, event.first_row, event.data)
            self.report.wire_bytes += len(event.data)
            if self._encoder.checks_digest:
                self._received.add(event.data)
            return RowChunk(event.first_row, event.rows, event.data, event.xxh3)
        return None


def _request(wanted: RowRequest) -> pb.EncodeRequest:
    return pb.EncodeRequest(
        digest=wanted.digest, plan=plan_to_proto(wanted.plan), fingerprint=wanted.fingerprint
    )
