"""Rows out of the arena of an encoder that cannot be trusted: what does not fit comes over the wire."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xxhash

import fovea.arena
import fovea.contract.rows
from decoder_svc.encoders.remote import RemoteEncoder
from decoder_svc.encoders.shared_memory import PAUSE_S, SharedMemoryReader
from decoder_svc.errors import EncoderChanged
from fovea.arena import PAGE, Arena
from fovea.contract.errors import ArenaFull, FoveaError, ImageNotStored, RowsMismatch
from fovea.contract.rows import digest
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2
from fovea.server.status import abort
from tests.decoder.encoders.fakes import served
from tests.decoder.encoders.test_stream import DATA, ROWS, WANTED, Streaming, good

ROW = WANTED.layout.row_bytes
SIZE = ROWS * ROW
PIECES = [DATA[at : at + 2 * ROW] for at in range(0, SIZE, 2 * ROW)]


class Sharing(Streaming):
    """Has an arena too, and answers LeaseRows with `lease`, or fails."""

    def __init__(self, arena: Arena) -> None:
        super().__init__(good())
        self.arena = arena
        self.told = arena.id
        self.failure: FoveaError | None = None
        self.handshakes = 0
        self.leases = 0
        self.released: list[str] = []
        first, *_, last = good()
        self.lease = encoder_pb2.LeaseRowsResponse(
            header=first.header, summary=last.summary, arena=arena.id, offset_bytes=PAGE + 64, lease_id="lease",
            xxh3=map(xxhash.xxh3_64_intdigest, PIECES),
        )  # fmt: skip
        arena.write(PAGE + 64, PIECES)

    async def GetServerInfo(self, request, context):
        self.handshakes += 1
        reply = await super().GetServerInfo(request, context)
        reply.arena = self.told
        return reply

    async def LeaseRows(self, request, context):
        self.leases += 1
        self.released += request.release_ids
        if self.failure:
            await abort(context, self.failure, "id")
        return self.lease

    async def ReleaseRows(self, request, context):
        self.released += request.lease_ids
        return encoder_pb2.ReleaseRowsResponse()


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sharing]:
    """Pieces are of two rows, so that there are three."""
    monkeypatch.setattr(fovea.contract.rows, "CHUNK_BYTES", 2 * ROW)
    monkeypatch.setattr(fovea.arena, "folder", lambda: tmp_path)
    arena = Arena(64 + SIZE)
    yield Sharing(arena)
    arena.close()


@dataclass
class Fetched:
    """What came of some fetches one behind the other, and how much of each travelled."""

    same_host: SharedMemoryReader
    data: list[bytes] = field(default_factory=list)
    wire_bytes: list[int] = field(default_factory=list)
    sources: list[tuple[str, bool]] = field(default_factory=list)


async def fetched(encoder: Sharing, times: int = 1, same_host: SharedMemoryReader | None = None) -> Fetched:
    found = Fetched(same_host or SharedMemoryReader())
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address)
        try:
            for _ in range(times):
                await peer.info(Deadline.after(30))
                fetch = found.same_host.fetch(peer, WANTED, Deadline.after(30))
                report = fetch.report
                found.data.append(b"".join([bytes(part.data) async for part in fetch.chunks()]))
                assert report is fetch.report, "who has asked for the report has another one"
                assert (report.row_bytes, report.rows_digest) == (SIZE, "sha256:" + "d" * 64)
                found.wire_bytes.append(report.wire_bytes)
                found.sources.append((report.origin, report.joined))
        finally:
            await peer.close()
    return found


@pytest.mark.parametrize("truth", [True, False])
async def test_shared_rows_of_another_digest_are_refused_if_the_setting_says_so(
    encoder: Sharing, truth: bool
) -> None:
    if truth:
        encoder.lease.summary.rows_digest = digest(DATA[:SIZE])
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address, checks_digest=True)
        try:
            await peer.info(Deadline.after(30))
            fetch = SharedMemoryReader().fetch(peer, WANTED, Deadline.after(30))
            with nullcontext() if truth else pytest.raises(RowsMismatch, match="digest is not that"):
                assert b"".join([bytes(part.data) async for part in fetch.chunks()]) == DATA[:SIZE]
        finally:
            await peer.close()
    assert encoder.released == ["lease"]


async def test_rows_are_read_from_the_arena_and_the_lease_is_released(encoder: Sharing) -> None:
    found = await fetched(encoder, times=2)
    assert found.data == [DATA[:SIZE]] * 2
    assert found.wire_bytes == [0, 0]
    assert encoder.released == ["lease"] * 2
    assert (found.same_host.reads, found.same_host.fallbacks) == (2, 0)


async def test_no_lease_is_requested_if_shared_memory_is_off(encoder: Sharing) -> None:
    found = await fetched(encoder, same_host=SharedMemoryReader(enabled=False))
    assert (found.wire_bytes, encoder.leases) == ([SIZE], 0)


def _no_file(encoder: Sharing) -> None:
    encoder.arena.path.unlink()


def _restarted(encoder: Sharing) -> None:
    encoder.lease.arena = "0" * 32


def _full(encoder: Sharing) -> None:
    encoder.failure = ArenaFull(1, 1)


def _outside(encoder: Sharing) -> None:
    encoder.lease.offset_bytes = PAGE + 65


def _in_the_header(encoder: Sharing) -> None:
    encoder.lease.offset_bytes = 0


def _fewer_checks(encoder: Sharing) -> None:
    del encoder.lease.xxh3[-1]


def _other_rows(encoder: Sharing) -> None:
    encoder.arena.write(PAGE + 64, [b"other"])


def _other_grid(encoder: Sharing) -> None:
    encoder.lease.header.count.grid.w += 2


def _other_size(encoder: Sharing) -> None:
    encoder.lease.summary.row_bytes -= 1


@pytest.mark.parametrize(
    "harm",
    [
        _no_file, _restarted, _full, _outside, _in_the_header, _fewer_checks, _other_rows, _other_grid, _other_size,
    ],
)  # fmt: skip
async def test_unusable_leases_fall_back_to_grpc(encoder: Sharing, harm: Callable[[Sharing], None]) -> None:
    harm(encoder)
    found = await fetched(encoder)
    assert (found.data, found.same_host.reads) == ([DATA[:SIZE]], 0)
    assert found.wire_bytes == [SIZE]
    assert found.same_host.fallbacks == 1
    assert encoder.released == ["lease"] * (encoder.leases and not encoder.failure)


async def test_an_arena_that_did_not_work_is_left_alone_for_a_while(encoder: Sharing) -> None:
    """The clock moves with each handshake: a second later, and then when the time is over."""
    moments = [0.0, 1.0, PAUSE_S]
    _other_rows(encoder)
    found = await fetched(encoder, 3, SharedMemoryReader(clock=lambda: moments[encoder.handshakes - 1]))
    assert found.wire_bytes == [SIZE] * 3
    assert encoder.leases == 2


async def test_verified_pieces_are_not_fetched_again(encoder: Sharing) -> None:
    """The third piece is overwritten, as after a lease that has run out: the first two are used."""
    encoder.arena.write(PAGE + 64 + 4 * ROW, [b"other"])
    encoder.lease.header.source = 1  # encoded: for the lease, and so for this fetch
    encoder.lease.header.joined = True
    found = await fetched(encoder)
    assert found.data == [DATA[:SIZE]]
    assert found.sources == [("encoded", True)]


async def test_rows_of_the_lease_and_of_the_fallback_must_be_equal(encoder: Sharing) -> None:
    encoder.arena.write(PAGE + 64 + 4 * ROW, [b"other"])
    encoder.messages[-1].summary.rows_digest = "sha256:" + "e" * 64
    with pytest.raises(EncoderChanged):
        await fetched(encoder)


async def test_a_typed_error_of_a_lease_is_not_retried_over_grpc(encoder: Sharing) -> None:
    encoder.failure = ImageNotStored(WANTED.digest)
    with pytest.raises(FoveaError) as raised:
        await fetched(encoder)
    assert raised.value.reason == "IMAGE_NOT_STORED"


def test_the_memory_of_an_arena_whose_encoder_has_restarted_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the encoder has another arena now, or none."""
    monkeypatch.setattr(fovea.arena, "folder", lambda: tmp_path)
    same_host, arenas = SharedMemoryReader(), [Arena(SIZE) for _ in range(2)]
    encoder: Any = SimpleNamespace(address="e")
    ids, opened = {each.id for each in arenas}, []
    for told in (arenas[0].id, arenas[1].id, ""):
        encoder.arena = told
        arena = same_host.arena_of(encoder)
        assert (arena is not None) == bool(told)
        del arena
        gc.collect()
        held = [each.id for each in gc.get_objects() if isinstance(each, fovea.arena.OpenArena)]
        opened.append([id for id in held if id in ids])  # other tests may have left arenas
    assert opened == [[arenas[0].id], [arenas[1].id], []]
    for each in arenas:
        each.close()
