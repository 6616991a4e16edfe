"""Rows over the Encode stream, out of shared memory, and the same bytes over a raw loopback socket, in turns.

The stream is read as the decoder reads it, by its own code: every chunk's place and XXH3 checked, every
byte copied to where it is used. On the other side the encoder takes the rows out of its store. So the ratio
is what is left of the loopback after store, checks, protobuf and gRPC. Out of shared memory they are leased
and read by the decoder's code too, with the same checks and the same last copy. Where a second encoder is
named, the rows of the same image come from it too, in its smaller dtype. Rows are as wide as those of 30B-A3B
(2048 values, 3 deepstack levels) and in bf16 16 MiB an image; the tower that computed them is small and
random, and nothing of it is timed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench.parts import raw_socket
from bench.parts.photo import photo
from bench.turns import turns
from decoder_svc.encoders.remote import RemoteEncoder
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.source import RowFetcher, RowRequest
from fovea.client import EncoderClient
from fovea.contract.plan import EncodePlan
from fovea.deadline import Deadline
from fovea.server.allocator import keep_freed_memory

SIDE = 1024
WIDTH = 2048


@dataclass
class WireTimes:
    """Seconds, a value a turn, for `images` images at once, each of `rows` rows of `row_bytes`.

    `fp8` has none where no encoder of smaller rows was there.
    """

    rows: int
    row_bytes: int
    images: int = 1
    wire: list[float] = field(default_factory=list)
    fp8: list[float] = field(default_factory=list)
    same_host: list[float] = field(default_factory=list)
    socket: list[float] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of one image."""
        return self.rows * self.row_bytes


def checkpoint(folder: Path) -> Path:
    """A checkpoint of a small random tower whose rows have the width and the levels of 30B-A3B."""
    from tests import tiny  # writes with torch: not before it is needed

    return tiny.checkpoint(folder, text_hidden=WIDTH, text_layers=1, dtype="bfloat16")


def measure(
    address: str, seconds: float, least: int, seed: int, images: int = 1, smaller: str | None = None
) -> WireTimes:
    """Against a running encoder of `checkpoint`, and a second one with fp8 rows, where it is named.

    This process keeps its memory, as the decoder's does.
    """
    keep_freed_memory()
    same_host = SharedMemoryReader()
    with asyncio.Runner() as runner:
        peer, wanted = runner.run(_prepared(address, seed))
        times = WireTimes(wanted.rows, wanted.layout.row_bytes, images)
        buffers = [memoryview(bytearray(times.bytes)) for _ in range(images)]
        with raw_socket.peers(times.bytes, images) as connections, ThreadPoolExecutor(images) as threads:
            steps: dict[str, Callable[[], object]] = {
                "wire": lambda: runner.run(_fetch_all(peer, wanted, buffers)),
                "socket": lambda: list(threads.map(raw_socket.receive, connections, buffers)),
                "same_host": lambda: runner.run(_fetch_all(same_host.over(peer), wanted, buffers)),
            }
            if smaller is not None:
                other, less = runner.run(_prepared(smaller, seed))
                parts = [buffer[: less.rows * less.layout.row_bytes] for buffer in buffers]
                steps["fp8"] = lambda: runner.run(_fetch_all(other, less, parts))
            for turn in turns(seconds, least + 1):
                for name, step in steps.items():
                    begin = time.perf_counter()
                    step()
                    if turn:  # the first connects and touches the memory
                        getattr(times, name).append(time.perf_counter() - begin)
            if smaller is not None:
                runner.run(other.close())
        if same_host.fallbacks:
            raise RuntimeError("rows that lie in shared memory came over the wire")
        runner.run(peer.close())
    return times


async def _prepared(address: str, seed: int) -> tuple[RemoteEncoder, RowRequest]:
    """One image, encoded and in the store, and the peer that reads it."""
    with EncoderClient(address) as client:
        digest = client.put(photo(seed, SIDE)).facts.digest
        client.encode(digest)
        planned = client.count(SIDE, SIDE)
    peer = RemoteEncoder(address)
    info = await peer.info(Deadline())
    plan = EncodePlan(SIDE * SIDE)
    wanted = RowRequest(digest, plan, planned.grid_thw, planned.tokens, info.fingerprint, info.layout)
    return peer, wanted


async def _fetch_all(source: RowFetcher, wanted: RowRequest, buffers: Sequence[memoryview]) -> None:
    await asyncio.gather(*(_fetch(source, wanted, buffer) for buffer in buffers))


async def _fetch(source: RowFetcher, wanted: RowRequest, buffer: memoryview) -> None:
    fetch, at = source.fetch(wanted, Deadline()), 0
    async for chunk in fetch.chunks():
        buffer[at : at + len(chunk.data)] = chunk.data
        at += len(chunk.data)
    if fetch.report.origin != "rows" or at != len(buffer):
        raise RuntimeError(f"{at} bytes came from {fetch.report.origin}, expected a hit of {len(buffer)}")
