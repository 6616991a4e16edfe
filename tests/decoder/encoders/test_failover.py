"""An encoder that fails is replaced by the next in rank order: for facts, uploads, placements and rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import grpc
import pytest
import xxhash

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.errors import EncoderChanged, EncoderOutdated
from fovea.contract.errors import (
    DeadlineExceeded,
    EncoderUnavailable,
    ImageNotStored,
    ImageTooLarge,
    StoreFull,
)
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2
from fovea.server.status import abort
from tests.decoder.encoders.fakes import EXPECTED, LAYOUT, FakeEncoder, served
from tests.decoder.encoders.test_stream import DATA, ROWS, WANTED, chunk, good

DEADLINE = Deadline()
SIZE = ROWS * LAYOUT.row_bytes


class Encoder(FakeEncoder):
    """Stores uploads by digest. Sends `messages` of a good stream, then `fails` with UNAVAILABLE if set."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.stored: dict[str, bytes] = {}
        self.messages = good()
        self.fails = False
        self.encodes = 0

    async def DescribeImage(self, request, context):
        if request.digest not in self.stored:
            await abort(context, ImageNotStored(request.digest), "")
        return await super().DescribeImage(request, context)

    async def PutImage(self, requests, context):
        digest, data = "", b""
        async for request in requests:
            digest, data = request.header.digest or digest, data + request.data
        if self.fails:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "")
        self.stored[digest] = data
        response = encoder_pb2.PutImageResponse()
        response.facts.digest = digest
        response.facts.size.width = response.facts.size.height = 64
        return response

    async def Encode(self, request, context) -> AsyncIterator[encoder_pb2.EncodeResponse]:
        self.encodes += 1
        for message in self.messages:
            yield message
        if self.fails:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "")


class Full(Encoder):
    """Has no room for uploads."""

    async def PutImage(self, requests, context):
        await abort(context, StoreFull("no room", 1), "")


class Dying(Encoder):
    """Fails every Encode, and gives no sign of life."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.fails, self.messages = True, []

    async def GetServerInfo(self, request, context):
        await context.abort(grpc.StatusCode.UNAVAILABLE, "")


class Outdated(Encoder):
    """An earlier version without Encode."""

    async def Encode(self, request, context):
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


class Down(Dying):
    """An encoder whose breaker is open and stays open."""


class Absent(Encoder):
    """An encoder whose breaker is open until `back` is set."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.back = asyncio.Event()

    async def GetServerInfo(self, request, context):
        if not self.back.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "")
        return await super().GetServerInfo(request, context)


@asynccontextmanager
async def fleet_of(*encoders: Encoder, grace_s: float = 0.0) -> AsyncIterator[Fleet]:
    """A fleet whose rank order for WANTED.digest is the order of `encoders`."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(encoders))
        absent = [encoder for encoder in encoders if isinstance(encoder, (Down, Absent))]
        pool = EncoderPool(Fleet({}, EXPECTED, ""), [encoder.address for encoder in encoders])
        stack.push_async_callback(pool.close)
        with pool.held() as fleet:
            order = {encoder.address: fleet.encoders[encoder.address] for encoder in encoders}
            ranked = Ranked(**{**vars(fleet), "encoders": order, "grace_s": grace_s})
            for encoder in absent:
                ranked.encoders[encoder.address].link.trip()
            yield ranked


class Ranked(Fleet):
    """Ranks the encoders in the order in which they are given."""

    def ranked(self, digest: str):
        return list(self.encoders.values())


async def stream(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def rows_of(fleet: Fleet, deadline: Deadline = DEADLINE) -> bytes:
    return b"".join([bytes(part.data) async for part in fleet.fetch(WANTED, deadline).chunks()])


async def test_an_upload_is_stored_by_the_first_two() -> None:
    encoders = [Encoder(name) for name in "abc"]
    async with fleet_of(*encoders) as fleet:
        await fleet.put(WANTED.digest, stream(b"x" * 3_000_000, b"y"), DEADLINE)
    whole = b"x" * 3_000_000 + b"y"
    assert [encoder.stored.get(WANTED.digest) for encoder in encoders] == [whole, whole, None]


async def test_an_upload_survives_the_failure_of_a_copy() -> None:
    first, second, third = (Encoder(name) for name in "abc")
    first.fails = True
    async with fleet_of(first, second, third) as fleet:
        assert (await fleet.put(WANTED.digest, stream(b"x", b"y"), DEADLINE)).encoder == second.address
        assert (await fleet.describe(WANTED.digest, DEADLINE)).encoder == second.address
        assert not third.stored


async def test_the_failure_of_every_copy_is_that_of_the_first() -> None:
    first, second = Encoder("a"), Full("b")
    first.fails = True
    async with fleet_of(first, second) as fleet:
        with pytest.raises(EncoderUnavailable):
            await fleet.put(WANTED.digest, stream(b"x"), DEADLINE)


async def test_the_failure_of_the_upload_itself_is_raised() -> None:
    async def too_long() -> AsyncIterator[bytes]:
        yield b"x"
        raise ImageTooLarge(2, 1)

    encoders = [Encoder(name) for name in "ab"]
    async with fleet_of(*encoders) as fleet:
        with pytest.raises(ImageTooLarge):
            await fleet.put(WANTED.digest, too_long(), DEADLINE)


async def test_a_call_by_id_survives_the_loss_of_the_owner() -> None:
    first, second = Down("a"), Encoder("b")
    second.stored[WANTED.digest] = b"x"
    async with fleet_of(first, second) as fleet:
        assert (await fleet.describe(WANTED.digest, DEADLINE)).encoder == second.address
        assert await rows_of(fleet) == DATA[:SIZE]


async def test_an_image_that_only_a_lost_encoder_may_hold_is_unavailable_and_not_unknown() -> None:
    """The caller by id retries later; the caller who has the bytes uploads them."""
    async with fleet_of(Down("a"), Encoder("b")) as fleet:
        with pytest.raises(EncoderUnavailable):
            await fleet.describe(WANTED.digest, DEADLINE)
        with pytest.raises(ImageNotStored):
            await fleet.lookup(WANTED.digest, DEADLINE)


class Lacking(Encoder):
    """Serves rows of what it stores only."""

    async def Encode(self, request, context) -> AsyncIterator[encoder_pb2.EncodeResponse]:
        if WANTED.digest not in self.stored:
            await abort(context, ImageNotStored(WANTED.digest), "")
        async for message in super().Encode(request, context):
            yield message

    async def PlaceRows(self, request, context):
        if WANTED.digest not in self.stored:
            await abort(context, ImageNotStored(WANTED.digest), "")
        return encoder_pb2.PlaceRowsResponse(known=True, header=good()[0].header)


async def test_an_encoder_that_takes_over_gets_the_image_that_the_request_brings() -> None:
    """The only encoder that was up stored the image, and died before it sent rows."""
    first, second = Dying("a"), Lacking("b")
    async with fleet_of(first, second) as fleet:
        assert await rows_of(fleet.bringing({WANTED.digest: b"x"})) == DATA[:SIZE]
    assert second.stored == {WANTED.digest: b"x"}


async def test_an_encoder_that_locates_rows_gets_the_image_that_the_request_brings() -> None:
    encoder = Lacking("a")
    async with fleet_of(encoder) as fleet:
        with pytest.raises(ImageNotStored):
            await fleet.place(WANTED, DEADLINE)
        placed = await fleet.bringing({WANTED.digest: b"x"}).place(WANTED, DEADLINE)
    assert placed.header.rows
    assert encoder.stored == {WANTED.digest: b"x"}


async def test_an_encoder_that_cannot_locate_rows_does_not_select_them_either() -> None:
    """An older version reads less of the plan: its rows would be others than those that were located."""
    old, new = Encoder("a"), Lacking("b")
    new.stored[WANTED.digest] = b"x"
    by_pixels = replace(WANTED, plan=replace(WANTED.plan, flat_tolerance=0))
    async with fleet_of(old, new) as fleet:
        await fleet.place(by_pixels, DEADLINE)
        assert [part async for part in fleet.fetch(by_pixels, DEADLINE).chunks()]
        assert (old.encodes, new.encodes) == (0, 1)
        assert await rows_of(fleet) == DATA[:SIZE]
    assert (old.encodes, new.encodes) == (1, 1)


@pytest.mark.parametrize("brings", [{}, {"sha256:" + "0" * 64: b"x"}, {WANTED.digest: b"x"}])
async def test_an_image_that_cannot_be_restored_is_unavailable(brings: dict[str, bytes]) -> None:
    """The request does not bring it, or the encoder has no room for it."""

    class Neither(Lacking, Full):
        pass

    first, second = Dying("a"), Neither("b")
    async with fleet_of(first, second) as fleet:
        with pytest.raises(EncoderUnavailable):
            await rows_of(fleet.bringing(brings))
    assert not second.stored


async def test_an_image_that_the_request_brings_is_never_said_to_be_missing() -> None:
    """Both encoders fail while they take it, and neither is known to be down yet."""

    class Failing(Lacking):
        async def PutImage(self, requests, context):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "")

    async with fleet_of(Failing("a"), Failing("b")) as fleet:
        bringing = fleet.bringing({WANTED.digest: b"x"})
        with pytest.raises(EncoderUnavailable):
            await rows_of(bringing)
        with pytest.raises(EncoderUnavailable):
            await bringing.place(WANTED, DEADLINE)


async def test_an_image_that_nobody_holds_is_not_stored() -> None:
    async with fleet_of(Encoder("a"), Encoder("b")) as fleet:
        with pytest.raises(ImageNotStored):
            await fleet.describe(WANTED.digest, DEADLINE)


@pytest.mark.parametrize("sent", range(len(good()) + 1))
async def test_rows_lost_in_the_middle_come_from_the_next_encoder(sent: int) -> None:
    first, second = Encoder("a"), Encoder("b")
    first.messages, first.fails = good()[:sent], True
    async with fleet_of(first, second) as fleet:
        fetch = fleet.fetch(WANTED, DEADLINE)
        chunks = [part async for part in fetch.chunks()]
        assert b"".join(bytes(part.data) for part in chunks) == DATA[:SIZE]
        assert [part.first_row for part in chunks] == [0, 2, 4]
        assert fetch.report.rows_digest
    assert first.encodes == 1


class Hung(Encoder):
    """Gives signs of life, but its tower hangs: no image, no placement and no upload is ever answered."""

    async def _hang(self, context) -> None:
        await asyncio.Event().wait()

    async def DescribeImage(self, request, context):
        await self._hang(context)

    async def PutImage(self, requests, context):
        async for _ in requests:
            pass
        await self._hang(context)

    async def Encode(self, request, context):
        self.encodes += 1
        for message in self.messages:
            yield message
        await self._hang(context)


@pytest.mark.parametrize("sent", [0, 2])
async def test_an_encoder_that_hangs_leaves_the_next_a_share_of_the_deadline(
    sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea.deadline.SPARED", 0.9)
    first, second = Hung("a"), Encoder("b")
    first.messages = good()[:sent]
    second.stored[WANTED.digest] = b"x"
    async with fleet_of(first, second) as fleet:
        assert await rows_of(fleet, Deadline.after(8)) == DATA[:SIZE]
        assert (await fleet.describe(WANTED.digest, Deadline.after(8))).encoder == second.address
        assert (await fleet.put(WANTED.digest, stream(b"x"), Deadline.after(8))).encoder == second.address
        assert not any(each.link.breaker.open for each in fleet.encoders.values()), "it may be well"


async def test_without_another_encoder_the_whole_deadline_is_waited_and_the_error_is_ours() -> None:
    async with fleet_of(Hung("a")) as fleet:
        for ask in (rows_of(fleet, Deadline.after(1)), fleet.describe(WANTED.digest, Deadline.after(1))):
            with pytest.raises(DeadlineExceeded):
                await ask


async def test_rows_that_differ_from_those_that_came_before_are_refused() -> None:
    first, second = Encoder("a"), Encoder("b")
    first.messages, first.fails = good()[:2], True
    other = bytearray(DATA[: 2 * LAYOUT.row_bytes])
    other[0] ^= 1
    changed = encoder_pb2.EncodeResponse()
    changed.CopyFrom(chunk(0))
    changed.chunk.data, changed.chunk.xxh3 = bytes(other), xxhash.xxh3_64_intdigest(other)
    second.messages = [good()[0], changed, *good()[2:]]
    async with fleet_of(first, second) as fleet:
        with pytest.raises(EncoderChanged):
            await rows_of(fleet)


async def test_a_lie_of_an_encoder_costs_its_call_and_not_the_request() -> None:
    first, second = Encoder("a"), Encoder("b")
    first.messages = [good()[0], chunk(2)]  # out of order
    async with fleet_of(first, second) as fleet:
        assert await rows_of(fleet) == DATA[:SIZE]
    assert (first.encodes, second.encodes) == (1, 1)


async def test_a_dead_encoder_costs_one_call_and_not_one_a_request() -> None:
    first, second = Dying("a"), Encoder("b")
    async with fleet_of(first, second) as fleet:
        for _ in range(5):
            assert await rows_of(fleet) == DATA[:SIZE]
    assert (first.encodes, second.encodes) == (1, 5)


async def test_with_every_encoder_down_a_call_fails_at_once_with_advice() -> None:
    async with fleet_of(Down("a"), Down("b")) as fleet:
        async with asyncio.timeout(1):
            for ask in (fleet.describe, fleet.lookup):
                with pytest.raises(EncoderUnavailable) as raised:
                    await ask(WANTED.digest, DEADLINE)
                assert raised.value.retry_after_s
            with pytest.raises(EncoderUnavailable):
                await rows_of(fleet)


async def test_a_call_waits_for_an_encoder_that_is_back_before_its_probe_has_noticed() -> None:
    """The last reachable encoder dies just after another has returned."""
    first, second = Dying("a"), Absent("b")
    async with fleet_of(first, second, grace_s=60) as fleet:
        rows = asyncio.create_task(rows_of(fleet))
        while not first.encodes:
            await asyncio.sleep(0.01)
        second.back.set()
        assert await rows == DATA[:SIZE]
    assert (first.encodes, second.encodes) == (1, 1)


async def test_an_encoder_that_has_come_back_during_a_call_replaces_the_next_that_fails() -> None:
    """Its breaker was open when the call began, and is closed when the other encoder fails."""

    class Slow(Dying):
        async def Encode(self, request, context) -> AsyncIterator[encoder_pb2.EncodeResponse]:
            self.encodes += 1
            async with asyncio.timeout(30):
                while fleet.encoders[second.address].link.breaker.open:
                    await asyncio.sleep(0.01)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "")
            yield

        GetServerInfo = FakeEncoder.GetServerInfo

    first, second = Slow("a"), Absent("b")
    async with fleet_of(first, second) as fleet:
        rows = asyncio.create_task(rows_of(fleet))
        while not first.encodes:
            await asyncio.sleep(0.01)
        second.back.set()
        assert await rows == DATA[:SIZE]


async def test_an_upload_waits_for_an_encoder_that_is_back_before_its_probe_has_noticed() -> None:
    first, second = Down("a"), Absent("b")
    async with fleet_of(first, second, grace_s=60) as fleet:
        upload = asyncio.create_task(fleet.put(WANTED.digest, stream(b"x"), DEADLINE))
        second.back.set()
        assert (await upload).encoder == second.address


async def test_facts_that_were_known_stand_in_while_every_encoder_is_down() -> None:
    first, second = Encoder("a"), Encoder("b")
    async with fleet_of(first, second) as fleet:
        stored = await fleet.put(WANTED.digest, stream(b"x"), DEADLINE)
        fleet.known.note(replace(stored, expires=2**40))
        for encoder in fleet.encoders.values():
            encoder.link.trip()
        assert (await fleet.describe(WANTED.digest, DEADLINE)).facts == stored.facts


async def test_an_encoder_that_is_too_old_for_the_call_is_replaced() -> None:
    """As in the middle of an upgrade. gRPC itself refuses a method that an earlier version lacks."""
    first, second = Outdated("a"), Encoder("b")
    async with fleet_of(first, second) as fleet:
        assert await rows_of(fleet) == DATA[:SIZE]
    async with fleet_of(Outdated("a")) as fleet:
        with pytest.raises(EncoderOutdated, match="runs an earlier version") as raised:
            await rows_of(fleet)
    assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
