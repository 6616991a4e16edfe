"""Encoders that join and leave: which encoder gets images, when a connection closes, and each load."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.encoders.remote import RemoteEncoder
from fovea.contract.errors import EncoderUnavailable
from fovea.deadline import Deadline
from tests.decoder.encoders.fakes import EXPECTED, FakeEncoder, served
from tests.e2e.house import free_address

NAME = "dns:///encoders.example:50051"
DEADLINE = Deadline()
IDS = [f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(64)]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The addresses of the peers that were closed, in order."""
    addresses: list[str] = []
    really = RemoteEncoder.close

    async def close(peer: RemoteEncoder) -> None:
        addresses.append(peer.address)
        await really(peer)

    monkeypatch.setattr(RemoteEncoder, "close", close)
    return addresses


def pool_of(*addresses: str) -> EncoderPool:
    return EncoderPool(Fleet({}, EXPECTED, NAME), addresses)


def owned(fleet: Fleet, digest: str) -> RemoteEncoder:
    return fleet.ranked(digest)[0]


async def test_a_new_encoder_gets_images_and_others_keep_their_connections() -> None:
    pool = pool_of("a:1", "b:1")
    with pool.held() as before:
        pool.update(["a:1", "b:1", "c:1"])
        with pool.held() as after:
            assert {peer.address for peer in (owned(before, image) for image in IDS)} == {"a:1", "b:1"}
            assert {peer.address for peer in (owned(after, image) for image in IDS)} == {"a:1", "b:1", "c:1"}
            assert all(after.encoders[address] is before.encoders[address] for address in ("a:1", "b:1"))
    await pool.close()


async def test_what_is_known_of_images_is_known_per_tenant() -> None:
    """The facts stand in for an encoder that does not answer."""
    encoder = FakeEncoder("only")
    pool = pool_of()
    async with served([encoder]):
        pool.update([encoder.address])
        with pool.held("acme") as fleet:
            await fleet.describe(IDS[0], DEADLINE)
    known = {}
    for tenant in ("acme", "other"):
        with pool.held(tenant) as fleet:
            known[tenant] = fleet.known._stored.keys()
    assert (list(known["acme"]), list(known["other"])) == ([IDS[0]], [])
    with pool.held("acme") as running:
        pool.forget("acme")
        with pool.held("acme") as fleet:
            assert not fleet.known._stored
            assert fleet.known is not running.known
    await pool.close()


async def test_a_deleted_image_is_forgotten_and_the_others_of_its_tenant_are_not() -> None:
    """Not even a call that runs during the deletion brings it back."""
    encoder = FakeEncoder("only")
    pool = pool_of()
    async with served([encoder]):
        pool.update([encoder.address])
        with pool.held("acme") as running:
            for image in IDS[:2]:
                await running.describe(image, DEADLINE)
            pool.forget("acme", IDS[0])
            await running.describe(IDS[0], DEADLINE)
    with pool.held("acme") as fleet:
        assert list(fleet.known._stored) == [IDS[1]]
    await pool.close()


async def test_a_leaving_encoder_is_closed_after_its_calls(closed: list[str]) -> None:
    staying, leaving = FakeEncoder("staying"), FakeEncoder("leaving")
    leaving.go.clear()
    async with served([staying, leaving]):
        pool = pool_of(staying.address, leaving.address)
        digest = await _owned_by(pool, leaving.address)

        async def ask() -> str:
            with pool.held() as fleet:
                return (await fleet.describe(digest, DEADLINE)).encoder

        running = asyncio.create_task(ask())
        await leaving.asked.wait()
        pool.update([staying.address])
        assert await ask() == staying.address
        assert (closed, running.done()) == ([], False)
        leaving.go.set()
        assert await running == leaving.address
        await asyncio.sleep(0)
        assert closed == [leaving.address]
        await pool.close()
    assert sorted(closed) == sorted([staying.address, leaving.address])


async def _owned_by(pool: EncoderPool, address: str) -> str:
    with pool.held() as fleet:
        return next(image_id for image_id in IDS if owned(fleet, image_id).address == address)


async def test_a_request_keeps_its_fleet_when_encoders_join_or_leave(closed: list[str]) -> None:
    """Encoders join and leave meanwhile; facts, layout and rows of the request come from the same fleet."""
    pool = pool_of("a:1")
    with pool.held() as fleet:
        pool.update(["b:1"])
        pool.update(["b:1", "c:1"])
        assert {owned(fleet, image_id).address for image_id in IDS} == {"a:1"}
        await asyncio.sleep(0)
        assert closed == []
    await asyncio.sleep(0)
    assert closed == ["a:1"]
    await pool.close()


async def test_a_returning_encoder_gets_a_new_connection(closed: list[str]) -> None:
    pool = pool_of("a:1")
    with pool.held() as old:
        pool.update(["b:1"])
        pool.update(["a:1"])
        with pool.held() as new:
            assert owned(new, IDS[0]) is not owned(old, IDS[0])
    await asyncio.sleep(0)
    assert closed == ["b:1", "a:1"]
    with pool.held() as fleet:
        assert owned(fleet, IDS[0]) is owned(new, IDS[0])
    await pool.close()


async def test_each_join_and_leave_is_logged_once() -> None:
    with capture_logs() as logs:
        pool = pool_of("a:1")
        pool.update(["b:1", "a:1"])
        pool.update(["a:1", "b:1"])
        pool.update(["b:1"])
        await pool.close()
    lines = [(line["event"], line["encoder"]) for line in logs]
    assert lines == [("encoder joined", "a:1"), ("encoder joined", "b:1"), ("encoder left", "a:1")]


async def test_without_an_address_the_failure_names_the_dns_name() -> None:
    pool = pool_of()
    with pool.held() as fleet:
        assert await fleet.layout([], DEADLINE) is None
        with pytest.raises(EncoderUnavailable, match=r"dns:///encoders\.example:50051") as raised:
            await fleet.describe(IDS[0], DEADLINE)
    assert raised.value.metadata == {"encoder": NAME}
    assert raised.value.retry_after_s
    (state,) = await pool.states(DEADLINE)
    assert (state.address, state.info, state.compatible) == (NAME, None, False)
    await pool.close()


async def test_each_encoder_reports_its_load_and_a_silent_encoder_none() -> None:
    encoders = [FakeEncoder("one", 3, 2, 100), FakeEncoder("two", 0, 1, 7), FakeEncoder("three", 9, 0, 0)]
    async with served(encoders):
        nobody = free_address()
        pool = pool_of(*(encoder.address for encoder in encoders), nobody)
        for _ in range(2):  # asked anew each time
            states = {state.address: state for state in await pool.states(Deadline.after(20))}
            for encoder in encoders:
                told = states[encoder.address].info
                assert told is not None
                assert (told.name, told.waiting, told.running, told.encodes) == (
                    encoder.name, encoder.load.waiting, encoder.load.running, encoder.load.encodes,
                )  # fmt: skip
                encoder.load.encodes += 1
            assert (states[nobody].info, states[nobody].compatible) == (None, False)
            assert len(states) == 4
        await pool.close()
