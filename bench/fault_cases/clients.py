"""Hostile clients: they cancel, drop connections, stop reading or writing, send large metadata, or nothing.

A normal call follows each kind.

Measures: `normal_ms` is the slowest of these normal calls, each on a new connection; `rss_growth_mib` the
resident memory of a service over the last tenth of the cancelled calls less that over the first;
`fd_growth` the file descriptors of a service after everything; `held` silent and half connections that the
server keeps; `failed_calls` normal calls that failed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice

import grpc

from bench import services
from bench.fault_cases.process import open_files, rss_mib
from bench.fault_cases.raw_client import BEGINNINGS, connected, half_message, is_closed
from bench.host import side
from bench.result import Measure, Result
from bench.runner import Run
from fovea.client import Client, Sampling
from fovea.contract.errors import FoveaError
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from standin import model_dir

GENERATE = "/fovea.decoder.v1.DecoderService/Generate"
TOGETHER = 32
SAMPLES = 100
"""Of memory, over the cancelled calls."""
METADATA_BYTES = 64 * 1024
IDLE_S = 5
CLOSED_S = 40.0
"""A bound on waiting until the server has closed connections; its own bounds are shorter."""
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024))


@dataclass(frozen=True)
class Effort:
    cancelled: int = 50_000
    dropped: int = 10_000
    silent: int = 2_000
    half: int = 500
    large_metadata: int = 500
    slow_readers: int = 64


QUICK = Effort(cancelled=400, dropped=200, silent=50, half=10, large_metadata=20, slow_readers=4)


@dataclass
class Seen:
    """What the case counted, from outside of the services."""

    normal_s: list[float] = field(default_factory=list)
    failed: int = 0
    held: int = 0
    refused_metadata: int = 0
    rss_mib: dict[str, list[float]] = field(default_factory=dict)


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), QUICK)
    flags = ("--idle-s", str(IDLE_S))
    launched = services.pair(model_dir(), run.folder, flags, decoder_flags=("--max-context", "1024"))
    running = run.start(*launched)
    encoder, decoder = (launch.address for launch in launched)
    pids = {child.name: child.pid for child in running.running}
    seen = Seen()
    normal(decoder, seen)
    before = {name: open_files(pid) for name, pid in pids.items()}
    run.status("cancelled calls")
    asyncio.run(cancelled(decoder, effort.cancelled, pids, seen))
    normal(decoder, seen)
    run.status("dropped connections")
    for address, sent in islice(cycle(zip(cycle((encoder, decoder)), cycle(BEGINNINGS))), effort.dropped):
        if (connection := connected(address, sent)) is not None:
            connection.close()
    normal(decoder, seen)
    run.status("large metadata and slow readers")
    asyncio.run(impolite(encoder, decoder, effort, seen))
    normal(decoder, seen)
    run.status("silent connections and half messages")
    stops = [*islice(cycle(BEGINNINGS), effort.silent), *[half_message(GENERATE, decoder)] * effort.half]
    silent(decoder, stops, seen)
    normal(decoder, seen)
    after = {name: _settled(pid, before[name]) for name, pid in pids.items()}
    running.children.check()
    return Result(
        config=vars(effort),
        sides={"ours": side("fovea")},
        measures=measures(seen, effort, max(after[name] - before[name] for name in pids)),
    )


def measures(seen: Seen, effort: Effort, fd_growth: int) -> dict[str, Measure]:
    growth = max(_growth(samples) for samples in seen.rss_mib.values())
    slowest = max(seen.normal_s, default=None)
    return {
        "normal_ms": Measure(
            "ms",
            None if slowest is None else slowest * 1000,
            len(seen.normal_s),
            target=1000,
            sense="at most",
        ),
        "rss_growth_mib": Measure("MiB", growth, effort.cancelled, target=16, sense="at most"),
        "fd_growth": Measure("count", fd_growth, 1, target=4, sense="at most"),
        "held": Measure("count", seen.held, effort.silent + effort.half, target=0, sense="at most"),
        "failed_calls": Measure("count", seen.failed, 5, target=0, sense="at most"),
        "large_metadata_refused": Measure(
            "count", seen.refused_metadata, effort.large_metadata, target=effort.large_metadata
        ),
    }


def _growth(samples: Sequence[float]) -> float:
    tenth = max(1, len(samples) // 10)
    return statistics.mean(samples[-tenth:]) - statistics.mean(samples[:tenth])


def normal(decoder: str, seen: Seen) -> None:
    """A call as an application makes it, on a connection of its own."""
    begun = time.monotonic()
    try:
        with Client(decoder, timeout_s=30.0) as client:
            client.ask("How many bars?", sampling=Sampling(max_new_tokens=2))
    except FoveaError:
        seen.failed += 1
    else:
        seen.normal_s.append(time.monotonic() - begun)


async def cancelled(decoder: str, count: int, pids: dict[str, int], seen: Seen) -> None:
    """Calls that end at once, after their first event, or after some of the answer; memory is sampled."""
    samples = {name: seen.rss_mib.setdefault(name, []) for name in pids}
    numbers: Iterator[int] = iter(range(count))
    async with grpc.aio.insecure_channel(decoder) as channel:
        stub = decoder_pb2_grpc.DecoderServiceStub(channel)

        async def one_after_another() -> None:
            for number in numbers:
                call = stub.Generate(_request(), timeout=30.0)
                with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
                    for _ in range(number % 3):
                        await call.read()
                call.cancel()
                if number % max(1, count // SAMPLES) == 0:
                    for name, pid in pids.items():
                        samples[name].append(rss_mib(pid))

        await asyncio.gather(*(one_after_another() for _ in range(TOGETHER)))


def _request() -> decoder_pb2.GenerateRequest:
    part = decoder_pb2.Part(text="Tell me 41 things.")
    message = decoder_pb2.Message(role=decoder_pb2.ROLE_USER, parts=[part])
    return decoder_pb2.GenerateRequest(messages=[message], sampling=decoder_pb2.Sampling(max_new_tokens=64))


async def impolite(encoder: str, decoder: str, effort: Effort, seen: Seen) -> None:
    """Metadata beyond the limit, and answers that nobody reads."""
    async with grpc.aio.insecure_channel(decoder, options=SMALL_WINDOW) as channel:
        stub = decoder_pb2_grpc.DecoderServiceStub(channel)
        slow = [stub.Generate(_request(), timeout=CLOSED_S) for _ in range(effort.slow_readers)]
        for _ in range(effort.large_metadata):
            try:
                await stub.GetServerInfo(
                    decoder_pb2.GetServerInfoRequest(),
                    timeout=30.0,
                    metadata=(("x-a", "a" * METADATA_BYTES),),
                )
            except grpc.aio.AioRpcError as error:
                seen.refused_metadata += error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in slow:
            call.cancel()
    async with grpc.aio.insecure_channel(encoder) as channel:
        stub = encoder_pb2_grpc.EncoderServiceStub(channel)
        await stub.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=30.0)


def silent(address: str, stops: Sequence[bytes], seen: Seen) -> None:
    """Connections that stop somewhere; the server must close them by itself."""
    opened = [connected(address, sent) for sent in stops]
    connections = [connection for connection in opened if connection is not None]
    until = time.monotonic() + CLOSED_S
    while connections and time.monotonic() < until:
        time.sleep(0.5)
        still = [connection for connection in connections if not is_closed(connection)]
        for connection in set(connections) - set(still):
            connection.close()
        connections = still
    seen.held += len(connections)
    for connection in connections:
        connection.close()


def _settled(pid: int, before: int) -> int:
    """Open files once closed connections have been dropped, or after CLOSED_S."""
    until = time.monotonic() + CLOSED_S
    while (count := open_files(pid)) > before and time.monotonic() < until:
        time.sleep(0.5)
    return count
