"""Rows of an encoder on this host, copied out of its arena in shared memory instead of sent.

Nothing there is trusted more than the wire: header, size and place are checked before the first byte, and the
XXH3 of each chunk on the copy that is handed on, since the encoder may use the memory again after the lease.
Where anything is off, the rows, or the rest of them, come over the wire; then the arena is left alone for a
while. What the encoder refuses for the image itself is raised as on the wire. Knows no protobuf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog
import xxhash

from decoder_svc.encoders.checks import changed, check_finite, mismatch
from decoder_svc.encoders.remote import RemoteEncoder, WireFetch
from decoder_svc.encoders.source import FetchReport, LeasedRows, RowFetcher, RowRequest
from decoder_svc.engine.protocol import RowChunk
from fovea.arena import ArenaUnusable, OpenArena
from fovea.contract.errors import ArenaFull, EncoderUnavailable, NotServed, RowsMismatch
from fovea.contract.rows import RowOrigin
from fovea.deadline import Deadline

PAUSE_S = 30.0
"""For an arena that cannot be read here."""
FULL_PAUSE_S = 1.0
BREATHE = 4
"""Chunks between two turns of the event loop: about a millisecond."""
log = structlog.get_logger()


class SharedMemoryReader:
    """The arenas that are open here, by the address of their encoder. Lives in one event loop."""

    def __init__(self, enabled: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self.enabled = enabled
        self.reads = 0
        self.fallbacks = 0
        self._clock = clock
        self._arenas: dict[str, OpenArena] = {}
        self._paused: dict[str, tuple[str, float]] = {}

    def over(self, peer: RemoteEncoder) -> RowFetcher:
        return _SharedSource(peer, self) if self.enabled else peer

    def arena_of(self, peer: RemoteEncoder) -> OpenArena | None:
        """None where there is none, where it cannot be opened here, and while it is left alone."""
        known = self._arenas.get(peer.address)
        if known is not None and known.id != peer.arena:
            del self._arenas[peer.address]  # a map would keep the memory of one that was removed
        paused, until = self._paused.get(peer.address, ("", 0.0))
        if not peer.arena or (paused == peer.arena and self._clock() < until):
            return None
        arena = self._arenas.get(peer.address)
        if arena is None:
            try:
                arena = self._arenas[peer.address] = OpenArena(peer.arena)
            except ArenaUnusable as error:
                self.pause(peer, str(error))
                return None
        return arena

    def pause(self, peer: RemoteEncoder, why: str, seconds: float = PAUSE_S) -> None:
        """Leave its arena alone; a new one, of an encoder that was started again, is tried at once."""
        self.fallbacks += 1
        self._paused[peer.address] = (peer.arena, self._clock() + seconds)
        log.info("rows_over_the_wire", encoder=peer.address, why=why)


@dataclass(frozen=True)
class _SharedSource:
    peer: RemoteEncoder
    same_host: SharedMemoryReader

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> SharedMemoryFetch:
        return SharedMemoryFetch(self.peer, self.same_host, wanted, deadline)


@dataclass
class SharedMemoryFetch:
    """The rows of one image out of an arena, or over the wire; or first the one and then the other."""

    peer: RemoteEncoder
    same_host: SharedMemoryReader
    wanted: RowRequest
    deadline: Deadline
    report: FetchReport = field(default_factory=FetchReport)
    _next: int = 0

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        arena = self.same_host.arena_of(self.peer)
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
        """None where the wire is to be used."""
        try:
            return await self.peer.lease(self.wanted, self.deadline)
        except (ArenaFull, NotServed) as error:
            self.same_host.pause(self.peer, error.message, FULL_PAUSE_S)
        except (EncoderUnavailable, RowsMismatch) as error:
            if error.received:
                raise
            self.same_host.pause(self.peer, error.message)
        return None

    async def _shared(self, arena: OpenArena, leased: LeasedRows) -> AsyncGenerator[RowChunk, None]:
        """Ends early where something does not fit. The lease ends with the last copy."""
        started, held, layout = time.monotonic(), True, self.wanted.layout
        try:
            self._check(arena, leased)
            vars(self.report).update(vars(leased.report))
            for check in leased.checks:
                chunk = self._copied(arena, leased, check)
                if self._next == self.wanted.rows:
                    self.report.transfer_ms = (time.monotonic() - started) * 1000
                    self.same_host.reads += 1
                    self.peer.release(leased.lease)
                    held = False
                yield chunk
                if self._next // layout.rows_per_chunk % BREATHE == 0:
                    await asyncio.sleep(0)  # copying a large image must not hold up the others
        except ArenaUnusable as error:
            self.same_host.pause(self.peer, str(error))
        finally:
            if held:
                self.peer.release(leased.lease)

    def _check(self, arena: OpenArena, leased: LeasedRows) -> None:
        if leased.arena != arena.id:
            self.peer.forget()
            raise ArenaUnusable("the encoder has another one now")
        pieces = -(-self.wanted.rows // self.wanted.layout.rows_per_chunk)
        if len(leased.checks) != pieces:
            raise ArenaUnusable(f"{len(leased.checks)} checks came for {pieces} pieces")

    def _copied(self, arena: OpenArena, leased: LeasedRows, check: int) -> RowChunk:
        """The next rows in memory of our own, or ArenaUnusable."""
        layout, first = self.wanted.layout, self._next
        rows = min(layout.rows_per_chunk, self.wanted.rows - first)
        data = arena.copy(leased.offset + first * layout.row_bytes, rows * layout.row_bytes)
        if xxhash.xxh3_64_intdigest(data) != check:
            raise ArenaUnusable(f"the check of the rows at {first} does not fit")
        check_finite(self.peer.address, self.wanted, first, data)
        self._next += rows
        return RowChunk(first, rows, data)

    async def _rest(self, leased: LeasedRows | None) -> AsyncGenerator[RowChunk, None]:
        """What has not come yet. Rows of both ways make one image only where their digest is the same."""
        self.report.rows_digest = ""
        fetch = WireFetch(self.peer, self.wanted, self.deadline, self.report)
        async with aclosing(fetch.chunks()) as chunks:
            async for chunk in chunks:
                if chunk.first_row + chunk.rows == self.wanted.rows:
                    self._reconcile(leased)
                if chunk.first_row >= self._next:
                    yield chunk
                elif chunk.first_row + chunk.rows > self._next:
                    raise mismatch(self.peer.address, self.wanted, "chunks and pieces are cut differently")

    def _reconcile(self, leased: LeasedRows | None) -> None:
        """Whoever had rows encoded for the arena did so, although the wire finds them stored."""
        if leased is None:
            return
        told = leased.report
        if self._next and told.rows_digest != self.report.rows_digest:
            raise changed(self.peer, "the wire brought other rows than the arena")
        if told.origin is RowOrigin.ENCODED:
            self.report.origin, self.report.joined = told.origin, told.joined
            self.report.encode_ms = told.encode_ms
