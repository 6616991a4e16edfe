"""Copies rows of an encoder on this host from its arena in shared memory instead of receiving them.

Shared memory is trusted no more than the wire: header, size and offset are checked before the first byte. The
XXH3 of each chunk is checked on our copy, since the encoder may reuse the memory after the lease. If a check
fails, the remaining rows come over the wire and the arena is not used for a while. Errors about the image
itself are raised as on the wire. Independent of protobuf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog
import xxhash

from decoder_svc.encoders.checks import changed, check_digest, check_finite, mismatch
from decoder_svc.encoders.remote import RemoteEncoder, WireFetch
from decoder_svc.encoders.source import FetchReport, LeasedRows, RowFetch, RowRequest
from decoder_svc.engine.protocol import RowChunk
from decoder_svc.errors import EncoderOutdated
from fovea.arena import ArenaUnusable, OpenArena
from fovea.contract.errors import ArenaFull, EncoderUnavailable, NotServed, RowsMismatch
from fovea.contract.rows import RowOrigin
from fovea.deadline import Deadline
from fovea.hashing import RunningDigest

PAUSE_S = 30.0
"""Pause after an arena could not be read."""
FULL_PAUSE_S = 1.0
CHUNKS_PER_TURN = 4
"""Chunks copied per turn of the event loop: about a millisecond."""
log = structlog.get_logger()


class SharedMemoryReader:
    """The open arenas, by encoder address. Lives in a single event loop."""

    def __init__(self, enabled: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self.enabled = enabled
        self.reads = 0
        self.fallbacks = 0
        self._clock = clock
        self._arenas: dict[str, OpenArena] = {}
        self._paused: dict[str, tuple[str, float]] = {}

    def fetch(self, encoder: RemoteEncoder, wanted: RowRequest, deadline: Deadline) -> RowFetch:
        if not self.enabled:
            return encoder.fetch(wanted, deadline)
        return SharedMemoryFetch(encoder, self, wanted, deadline)

    def arena_of(self, encoder: RemoteEncoder) -> OpenArena | None:
        """The encoder's arena; None if it has none, if it cannot be opened here, or during a pause."""
        known = self._arenas.get(encoder.address)
        if known is not None and known.id != encoder.arena:
            del self._arenas[encoder.address]  # the mapping would keep the memory of a removed arena alive
        paused, until = self._paused.get(encoder.address, ("", 0.0))
        if not encoder.arena or (paused == encoder.arena and self._clock() < until):
            return None
        arena = self._arenas.get(encoder.address)
        if arena is None:
            try:
                arena = self._arenas[encoder.address] = OpenArena(encoder.arena)
            except ArenaUnusable as error:
                self.pause(encoder, str(error))
                return None
        return arena

    def pause(self, encoder: RemoteEncoder, why: str, seconds: float = PAUSE_S) -> None:
        """Stop using the arena for a while. The new arena of a restarted encoder is tried at once."""
        self.fallbacks += 1
        self._paused[encoder.address] = (encoder.arena, self._clock() + seconds)
        log.info("rows_over_the_wire", encoder=encoder.address, why=why)


@dataclass
class SharedMemoryFetch:
    """The rows of an image from an arena, over the wire, or from the arena with the rest over the wire."""

    encoder: RemoteEncoder
    same_host: SharedMemoryReader
    wanted: RowRequest
    deadline: Deadline
    report: FetchReport = field(default_factory=FetchReport)
    _next: int = 0
    _received: RunningDigest = field(default_factory=RunningDigest)

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        arena = self.same_host.arena_of(self.encoder)
        leased = await self._lease() if arena else None
        if arena and leased:
            async with aclosing(self._shared(arena, leased)) as chunks:
                async for chunk in chunks:
                    yield chunk
        if self._next < self.wanted.rows:
            async with aclosing(self._rest(leased)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _lease(self) -> LeasedRows | None:
        """A lease on the rows; None to use the wire."""
        try:
            return await self.encoder.lease(self.wanted, self.deadline)
        except (ArenaFull, NotServed, EncoderOutdated) as error:
            self.same_host.pause(self.encoder, error.message, FULL_PAUSE_S)
        except (EncoderUnavailable, RowsMismatch) as error:
            if error.received:
                raise
            self.same_host.pause(self.encoder, error.message)
        return None

    async def _shared(self, arena: OpenArena, leased: LeasedRows) -> AsyncGenerator[RowChunk, None]:
        """Copy rows from the arena. Ends early if a check fails. Releases the lease after the last copy."""
        started, held, layout = time.monotonic(), True, self.wanted.layout
        try:
            self._check(arena, leased)
            self.report.note_header(leased.header)
            self.report.note_summary(leased.summary, leased.encode_ms)
            self.report.asked, self.report.received = leased.asked, started
            for check in leased.checks:
                chunk = self._copied(arena, leased, check)
                if self.encoder.checks_digest:
                    self._received.add(chunk.data)
                if self._next == self.wanted.rows:
                    if self.encoder.checks_digest:
                        await check_digest(self.wanted, self._received, leased.summary.rows_digest)
                    self.report.transfer_ms = (time.monotonic() - started) * 1000
                    self.same_host.reads += 1
                    self.encoder.release(leased.lease, self.wanted.tenant)
                    held = False
                yield chunk
                if self._next // layout.rows_per_chunk % CHUNKS_PER_TURN == 0:
                    await asyncio.sleep(0)  # copying a large image must not block other requests
        except ArenaUnusable as error:
            self.same_host.pause(self.encoder, str(error))
        finally:
            if held:
                self.encoder.release(leased.lease, self.wanted.tenant)

    def _check(self, arena: OpenArena, leased: LeasedRows) -> None:
        if leased.arena != arena.id:
            self.encoder.forget()
            raise ArenaUnusable("the encoder has a new arena now")
        chunk_count = -(-self.wanted.rows // self.wanted.layout.rows_per_chunk)
        if len(leased.checks) != chunk_count:
            raise ArenaUnusable(f"{len(leased.checks)} checksums for {chunk_count} chunks")

    def _copied(self, arena: OpenArena, leased: LeasedRows, check: int) -> RowChunk:
        """A checked copy of the next rows. Raises ArenaUnusable."""
        layout, first = self.wanted.layout, self._next
        rows = min(layout.rows_per_chunk, self.wanted.rows - first)
        data = arena.copy(leased.offset + first * layout.row_bytes, rows * layout.row_bytes)
        if xxhash.xxh3_64_intdigest(data) != check:
            raise ArenaUnusable(f"wrong checksum of the rows at {first}")
        check_finite(self.wanted, first, data)
        self._next += rows
        return RowChunk(first, rows, data, check)

    async def _rest(self, leased: LeasedRows | None) -> AsyncGenerator[RowChunk, None]:
        """Receive the remaining rows. Rows of arena and wire are combined only if their digests are equal."""
        fetch = WireFetch(self.encoder, self.wanted, self.deadline, self.report)
        async with aclosing(fetch.chunks()) as chunks:
            async for chunk in chunks:
                if chunk.first_row + chunk.rows == self.wanted.rows:
                    self._reconcile(leased)
                if chunk.first_row >= self._next:
                    yield chunk
                elif chunk.first_row + chunk.rows > self._next:
                    raise mismatch(self.wanted, "the chunks of wire and arena differ")

    def _reconcile(self, leased: LeasedRows | None) -> None:
        """Merge the lease's report: rows encoded for the lease count as encoded, not as stored."""
        if leased is None:
            return
        if self._next and leased.summary.rows_digest != self.report.rows_digest:
            raise changed(self.encoder, "the wire brought other rows than the arena")
        if leased.header.origin is RowOrigin.ENCODED:
            self.report.note_header(leased.header)
            self.report.encode_ms = leased.encode_ms
