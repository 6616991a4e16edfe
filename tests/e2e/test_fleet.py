"""Several encoders and several decoders: each image is encoded once, on one encoder, and the load is even.

The owner of an image follows from its id and the addresses of the encoders. Free ports would draw another
distribution each time, and 3 % of the draws of 300 images over 3 encoders are beyond 20 %. So the encoders listen
on sockets in the test's own folder, `unix:encoder-0.sock` and so on, and the pictures are made byte by byte: ids and
addresses are always the same, they are the first that came to mind, and nobody else can hold them. As in
production, the address is hashed as it was configured and not as it resolves.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import struct
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from decoder_svc.encoders.resolver import Lookup
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.dns import lookup
from fovea.rendezvous import owner
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, Service, decoder, digest_of, encoder, free_address, request

pytestmark = pytest.mark.timeout(600)
Make = Callable[[str], Path]
SIDE = 64
THREE = ("encoder-0", "encoder-1", "encoder-2")


def fixed_picture(number: int) -> bytes:
    """Noise in a PNG without compression: the same bytes whatever the version of any library."""
    noise = hashlib.shake_128(str(number).encode()).digest(SIDE * SIDE * 3)
    lines = b"".join(b"\0" + noise[at : at + SIDE * 3] for at in range(0, len(noise), SIDE * 3))
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(lines), len(lines) ^ 0xFFFF) + lines
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)),
        (b"IDAT", stored + struct.pack(">I", zlib.adler32(lines))),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@dataclass
class Door:
    """A decoder behind a client. `encodes` adds up its receipts."""

    service: Service
    encodes: int = 0

    def __post_init__(self) -> None:
        self.stub = decoder_pb2_grpc.DecoderServiceStub(self.service.channel)

    async def ask(self, image: bytes | str) -> decoder_pb2.ReceiptImage:
        """The receipt of the image. Fails if the answer fails."""
        message = decoder_pb2.CompleteRequest(request=request("?", [image], max_new_tokens=1))
        reply = await self.stub.Complete(message, timeout=CALL_S)
        (image_receipt,) = reply.receipt.images
        assert reply.receipt.totals.encodes <= encoded(image_receipt)
        self.encodes += reply.receipt.totals.encodes
        return image_receipt

    async def ask_all(self, images: Iterable[bytes | str]) -> list[decoder_pb2.ReceiptImage]:
        """In order of asking, four at a time: a busy event loop must not look like dead encoders."""
        gate = asyncio.Semaphore(4)

        async def ask_in_turn(image: bytes | str) -> decoder_pb2.ReceiptImage:
            async with gate:
                return await self.ask(image)

        return list(await asyncio.gather(*map(ask_in_turn, images)))

    async def refusal(self, image: bytes | str) -> str:
        message = decoder_pb2.CompleteRequest(request=request("?", [image], max_new_tokens=1))
        return (await failure(self.stub.Complete(message, timeout=CALL_S))).reason

    async def peers(self) -> dict[str, decoder_pb2.EncoderPeer]:
        """The encoders in GetServerInfo, by address."""
        info = await self.stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
        return {peer.address: peer for peer in info.encoders}

    async def until_peers_are(self, addresses: Sequence[str]) -> None:
        async with asyncio.timeout(60):
            while set(await self.peers()) != set(addresses):
                await asyncio.sleep(0.02)


def encoded(image: decoder_pb2.ReceiptImage) -> bool:
    """Whether the tower computed the rows, for this call or for a concurrent call."""
    from fovea.vision.v1 import rows_pb2

    return image.source == rows_pb2.ROW_SOURCE_ENCODED


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with sockets and stores, so that an address names its socket without a folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def held_tower(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every tower blocks at its first image until this is set. The dummy image at the start passes."""
    from encoder_svc.vision.tower import Tower

    go, really = threading.Event(), Tower.encode

    def held(self: Tower, *asked: Any) -> Any:
        assert go.wait(CALL_S)
        return really(self, *asked)

    monkeypatch.setattr(Tower, "encode", held)
    yield go
    go.set()


@asynccontextmanager
async def encoders(model: Path, folder: Path, *names: str) -> AsyncIterator[list[str]]:
    """Their addresses, once they are ready."""
    async with AsyncExitStack() as stack:
        started = [
            encoder(model, folder / name / "store", name=name, listen=f"unix:{name}.sock", metrics_listen="")
            for name in names
        ]
        for service in started:
            stack.push_async_callback(service.stop)
        for service in started:
            await service.until_ready()
        yield [service.address for service in started]


@asynccontextmanager
async def door(model: Path, addresses: Sequence[str]) -> AsyncIterator[Door]:
    service = decoder(model, addresses, metrics_listen="")
    try:
        await service.until_ready()
        yield Door(service)
    finally:
        await service.stop()


@asynccontextmanager
async def following_door(model: Path, name: str, lookup: Lookup) -> AsyncIterator[Door]:
    """A decoder whose encoders have a DNS name, resolved twenty times a second."""
    from decoder_svc.app import serve
    from decoder_svc.settings import DecoderSettings

    chosen = DecoderSettings(
        model=model, encoders=name, resolve_s=0.05, listen=free_address(), metrics_listen="", dtype="fp32",
        threads=1, device="cpu", kv_tokens=16_384, grace_s=2.0, prefix_cache=False,
    )  # fmt: skip
    service = Service(chosen.listen, "", asyncio.create_task(serve(chosen, lookup)))
    try:
        await service.until_loaded()
        yield Door(service)
    finally:
        await service.stop()


class Zone:
    """A DNS server's answer, which a test may change. No address is a failed lookup."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.lookups = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.lookups += 1
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.addresses


@pytest.mark.long
async def test_300_images_requested_three_times_are_300_encodes_evenly_spread(
    checkpoint: Make, folder: Path
) -> None:
    model = checkpoint("moe")
    pictures = [fixed_picture(number) for number in range(300)]
    asks = pictures * 3
    random.Random(0).shuffle(asks)
    async with encoders(model, folder, *THREE) as addresses, door(model, addresses) as front:
        receipts = await front.ask_all(asks)
        peers = await front.peers()
    places: dict[str, set[str]] = {}
    for image in receipts:
        places.setdefault(image.digest, set()).add(image.encoder)
    assert len(places) == 300
    assert {len(names) for names in places.values()} == {1}, "an image was on two encoders"
    encodes = {peer.name: peer.encodes for peer in peers.values()}
    print(f"encodes: {encodes}")
    assert sum(encodes.values()) == front.encodes == 300, "receipts do not add up to the towers' work"
    assert encodes == Counter(name for names in places.values() for name in names)
    assert set(encodes) == set(THREE)
    assert 80 <= min(encodes.values()) <= max(encodes.values()) <= 120
    assert {(peer.waiting, peer.running) for peer in peers.values()} == {(0, 0)}


async def test_two_decoders_sharing_an_encoder_encode_an_image_once(checkpoint: Make, folder: Path) -> None:
    model = checkpoint("moe")
    async with (
        encoders(model, folder, THREE[0]) as addresses,
        door(model, addresses) as left,
        door(model, addresses) as right,
    ):
        pictures = [fixed_picture(number) for number in range(12)]
        first, _ = await asyncio.gather(left.ask_all(pictures), right.ask_all(pictures[::-1]))
        assert not any(map(encoded, await right.ask_all([image.digest for image in first])))
        seen, also_seen = await left.peers(), await right.peers()
        assert seen == also_seen
        (peer,) = seen.values()
        assert (peer.name, peer.encodes, peer.reachable, peer.compatible) == ("encoder-0", 12, True, True)


@pytest.mark.long
async def test_a_join_moves_its_share_and_other_images_stay_encoded(checkpoint: Make, folder: Path) -> None:
    model = checkpoint("moe")
    files = {digest_of(data): data for data in map(fixed_picture, range(90))}
    async with encoders(model, folder, *THREE) as addresses:
        zone = Zone(*addresses[:2])
        async with following_door(model, "dns:///encoders.example:50051", zone) as front:
            await front.until_peers_are(addresses[:2])
            before = {image.digest: image.encoder for image in await front.ask_all(files.values())}
            assert set(before.values()) == set(THREE[:2])

            zone.addresses = tuple(addresses)
            await front.until_peers_are(addresses)
            moved = [digest for digest in files if owner(digest, addresses) == addresses[2]]
            stayed = [digest for digest in files if digest not in moved]
            print(f"moved by the join: {len(moved)} of {len(files)}")
            assert 0.8 / 3 <= len(moved) / len(files) <= 1.2 / 3
            after = await front.ask_all(stayed)
            assert not any(map(encoded, after))
            assert all(image.encoder == before[image.digest] for image in after)
            by_id = await front.ask_all(moved)
            assert not any(map(encoded, by_id)), "the new owner does not hold them; the earlier owner does"
            assert all(image.encoder == before[image.digest] for image in by_id)
            again = await front.ask_all(files[digest] for digest in moved)
            assert all(encoded(image) and image.encoder == THREE[2] for image in again)
            assert [peer.encodes for peer in (await front.peers()).values()] == [
                *(Counter(before.values())[name] for name in THREE[:2]), len(moved),
            ]  # fmt: skip


@pytest.mark.long
async def test_a_leave_moves_only_its_images(checkpoint: Make, folder: Path) -> None:
    """The leaving encoder is stopped too. Two encoders hold each upload, so a call by id goes on."""
    model = checkpoint("moe")
    files = {digest_of(data): data for data in map(fixed_picture, range(90))}
    async with encoders(model, folder, *THREE[:2]) as staying, AsyncExitStack() as last:
        addresses = [*staying, *await last.enter_async_context(encoders(model, folder, THREE[2]))]
        zone = Zone(*addresses)
        async with following_door(model, "dns:///encoders.example:50051", zone) as front:
            await front.until_peers_are(addresses)
            before = {image.digest: image.encoder for image in await front.ask_all(files.values())}
            orphans = [digest for digest, name in before.items() if name == THREE[2]]
            print(f"moved by the leave: {len(orphans)} of {len(files)}")
            assert 0.8 / 3 <= len(orphans) / len(files) <= 1.2 / 3

            zone.addresses = tuple(staying)
            await front.until_peers_are(staying)
            await last.aclose()
            after = await front.ask_all([digest for digest in files if digest not in orphans])
            assert not any(map(encoded, after))
            assert all(image.encoder == before[image.digest] for image in after)
            again = await front.ask_all(orphans)
            assert all(map(encoded, again)), "the second copy of the upload is encoded where it lies"
            assert {image.encoder for image in again} == set(THREE[:2])


async def test_the_images_of_a_dead_encoder_are_served_by_the_next(checkpoint: Make, folder: Path) -> None:
    """Inline and by id, those it had encoded and new ones; it stays in the list until it leaves it."""
    model = checkpoint("moe")
    pictures = [fixed_picture(number) for number in range(24)]
    async with encoders(model, folder, THREE[0]) as staying, AsyncExitStack() as dying:
        addresses = [*staying, *await dying.enter_async_context(encoders(model, folder, THREE[1]))]
        async with door(model, addresses) as front:
            before = await front.ask_all(pictures[:12])
            assert {image.encoder for image in before} == set(THREE[:2])
            await dying.aclose()
            asks: list[bytes | str] = [*pictures, *(image.digest for image in before)]
            assert {image.encoder for image in await front.ask_all(asks)} == {THREE[0]}
            peers = await front.peers()
            assert {at: peer.reachable for at, peer in peers.items()} == dict(
                zip(addresses, (True, False), strict=True)
            )


async def test_an_unresolved_name_is_a_typed_error(checkpoint: Make, folder: Path) -> None:
    """The decoder starts, answers requests without images, and names the missing host. Then the host resolves."""
    model, name, zone = checkpoint("moe"), "dns:///encoders.example:50051", Zone()
    async with encoders(model, folder, THREE[0]) as addresses, following_door(model, name, zone) as front:
        message = decoder_pb2.CompleteRequest(request=request("?", [fixed_picture(0)], max_new_tokens=1))
        error = await failure(front.stub.Complete(message, timeout=CALL_S))
        assert (error.code, error.reason) == ("UNAVAILABLE", "ENCODER_UNAVAILABLE")
        assert error.metadata["encoder"] == name
        assert name in error.message
        assert error.retry_s
        text = decoder_pb2.CompleteRequest(request=request("Only text.", max_new_tokens=1))
        assert (await front.stub.Complete(text, timeout=CALL_S)).receipt.totals.output_tokens
        assert {at: peer.reachable for at, peer in (await front.peers()).items()} == {name: False}

        zone.addresses = tuple(addresses)
        await front.until_peers_are(addresses)
        assert encoded(await front.ask(fixed_picture(0)))

        zone.addresses = ()
        before = zone.lookups
        async with asyncio.timeout(60):
            while zone.lookups < before + 2:  # the second begins after the first has failed
                await asyncio.sleep(0.01)
        assert not encoded(await front.ask(fixed_picture(0))), "the last known addresses stand"


async def test_the_real_resolver_locates_an_encoder(checkpoint: Make, tmp_path: Path) -> None:
    model = checkpoint("moe")
    service = encoder(model, tmp_path / "store", metrics_listen="")
    try:
        await service.until_ready()
        port = service.address.rpartition(":")[2]
        async with following_door(model, f"dns:///localhost:{port}", lookup) as front:
            await front.until_peers_are([f"127.0.0.1:{port}"])
            assert encoded(await front.ask(fixed_picture(0)))
    finally:
        await service.stop()


async def test_a_request_outlives_the_leave_of_its_encoder(
    checkpoint: Make, folder: Path, held_tower: threading.Event
) -> None:
    """Its rows come from the encoder that got its image. The next request uses another encoder."""
    model = checkpoint("moe")
    async with encoders(model, folder, *THREE[:2]) as addresses:
        zone = Zone(addresses[0])
        async with following_door(model, "dns:///encoders.example:50051", zone) as front:
            await front.until_peers_are(addresses[:1])
            asking = asyncio.create_task(front.ask(fixed_picture(0)))
            async with asyncio.timeout(60):
                while not (await front.peers())[addresses[0]].running:
                    await asyncio.sleep(0.02)
            zone.addresses = (addresses[1],)
            await front.until_peers_are(addresses[1:])
            held_tower.set()
            assert (await asking).encoder == THREE[0]
            assert await front.refusal(digest_of(fixed_picture(0))) == "IMAGE_NOT_STORED"
            assert (await front.ask(fixed_picture(0))).encoder == THREE[1]


async def test_every_decoder_reports_the_load_of_a_busy_encoder(
    checkpoint: Make, folder: Path, held_tower: threading.Event
) -> None:
    """One of two towers is blocked during an image. Both decoders report it, and report the other encoder as idle."""
    model = checkpoint("moe")
    async with (
        encoders(model, folder, *THREE[:2]) as addresses,
        door(model, addresses) as left,
        door(model, addresses) as right,
    ):
        busy = owner(digest_of(fixed_picture(0)), addresses)
        asking = asyncio.create_task(left.ask(fixed_picture(0)))
        for front in (left, right):
            async with asyncio.timeout(60):
                while not (await front.peers())[busy].running:
                    await asyncio.sleep(0.02)
            load = {at: (peer.running, peer.encodes) for at, peer in (await front.peers()).items()}
            assert load == {address: (int(address == busy), 0) for address in addresses}
        held_tower.set()
        await asking
        for front in (left, right):
            load = {at: (peer.running, peer.encodes) for at, peer in (await front.peers()).items()}
            assert load == {address: (0, int(address == busy)) for address in addresses}
