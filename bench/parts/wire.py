"""Rows over the Encode stream, out of shared memory, and the same bytes over a raw loopback socket, in turns.

The decoder's own code reads the stream: it checks the position and XXH3 of every chunk and copies every byte
to where it is used. On the other side the encoder reads the rows from its store. The ratio is therefore what
store, checks, protobuf and gRPC leave of the loopback. Rows in shared memory are leased and read by the
decoder's code too, with the same checks and the same last copy. With a second encoder, the rows of the same
image are also fetched from it, in its smaller dtype. Rows are as wide as those of 30B-A3B (2048 values, 3
deepstack levels), in bf16 16 MiB an image; the tower that computed them is small and random and is not timed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.parts import raw_socket
from bench.parts.photo import photo
from bench.turns import time_in_turns
from decoder_svc.encoders.remote import RemoteEncoder
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.source import RowFetch, RowRequest
from fovea.client import EncoderClient
from fovea.contract.plan import EncodePlan
from fovea.deadline import Deadline
from fovea.server.allocator import keep_freed_memory

SIDE = 1024
WIDTH = 2048
Opened = Callable[[RowRequest, Deadline], RowFetch]


@dataclass
class WireTimes:
    """Seconds, a value for each turn, for `images` images at once, each of `rows` rows of `row_bytes`.

    `fp8` is empty without an encoder of smaller rows.
    """

    rows: int
    row_bytes: int
    images: int
    wire: Sequence[float]
    socket: Sequence[float]
    same_host: Sequence[float]
    fp8: Sequence[float] = ()


def checkpoint(folder: Path) -> Path:
    """A checkpoint of a small random tower whose rows have the width and the levels of 30B-A3B."""
    from tests import tiny  # loads torch

    return tiny.checkpoint(folder, text_hidden=WIDTH, text_layers=1, dtype="bfloat16")


def measure(
    address: str, seconds: float, least: int, seed: int, images: int = 1, smaller: str | None = None
) -> WireTimes:
    """Against a running encoder of `checkpoint`, and against `smaller`, an encoder with fp8 rows, if given.

    This process keeps freed memory, as the decoder does.
    """
    keep_freed_memory()
    same_host = SharedMemoryReader()
    with asyncio.Runner() as runner:
        peer, wanted = runner.run(_prepare(address, seed))
        image_bytes = wanted.rows * wanted.layout.row_bytes
        buffers = [memoryview(bytearray(image_bytes)) for _ in range(images)]
        with raw_socket.peers(image_bytes, images) as connections, ThreadPoolExecutor(images) as threads:
            shared = partial(same_host.fetch, peer)
            steps: dict[str, Callable[[int], object]] = {
                "wire": lambda turn: runner.run(_fetch_all(peer.fetch, wanted, buffers)),
                "socket": lambda turn: list(threads.map(raw_socket.receive, connections, buffers)),
                "same_host": lambda turn: runner.run(_fetch_all(shared, wanted, buffers)),
            }
            if smaller is not None:
                other, less = runner.run(_prepare(smaller, seed))
                parts = [buffer[: less.rows * less.layout.row_bytes] for buffer in buffers]
                steps["fp8"] = lambda turn: runner.run(_fetch_all(other.fetch, less, parts))
            # The first turn connects and touches the memory.
            times = time_in_turns(steps, seconds, least, warm_up=1)
            if smaller is not None:
                runner.run(other.close())
        if same_host.fallbacks:
            raise RuntimeError("rows that lie in shared memory came over the wire")
        runner.run(peer.close())
    return WireTimes(wanted.rows, wanted.layout.row_bytes, images, **times)


def fetch(address: str, images: int, seed: int) -> int:
    """Fetch an image from the store of an encoder of `checkpoint`, `images` times. Returns its rows."""
    keep_freed_memory()
    with asyncio.Runner() as runner:
        peer, wanted = runner.run(_prepare(address, seed))
        buffer = memoryview(bytearray(wanted.rows * wanted.layout.row_bytes))
        for _ in range(images):
            runner.run(_fetch(peer.fetch, wanted, buffer))
        runner.run(peer.close())
    return wanted.rows


async def _prepare(address: str, seed: int) -> tuple[RemoteEncoder, RowRequest]:
    """An image, encoded and in the store, and the peer that reads it."""
    with EncoderClient(address) as client:
        digest = client.put(photo(seed, SIDE)).facts.digest
        client.encode(digest)
        planned = client.count(SIDE, SIDE)
    peer = RemoteEncoder(address)
    info = await peer.info(Deadline())
    plan = EncodePlan(SIDE * SIDE)
    wanted = RowRequest(digest, plan, planned.grid_thw, planned.tokens, info.fingerprint, info.layout)
    return peer, wanted


async def _fetch_all(opened: Opened, wanted: RowRequest, buffers: Sequence[memoryview]) -> None:
    await asyncio.gather(*(_fetch(opened, wanted, buffer) for buffer in buffers))


async def _fetch(opened: Opened, wanted: RowRequest, buffer: memoryview) -> None:
    fetch, at = opened(wanted, Deadline()), 0
    async for chunk in fetch.chunks():
        buffer[at : at + len(chunk.data)] = chunk.data
        at += len(chunk.data)
    if fetch.report.origin != "rows" or at != len(buffer):
        raise RuntimeError(f"{at} bytes came from {fetch.report.origin}, expected a hit of {len(buffer)}")
