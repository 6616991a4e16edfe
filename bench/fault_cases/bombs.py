"""Files that cost a careless reader seconds or gigabytes, each sent to an encoder while others upload.

Bombs are sent as a hostile caller does, without the checks of our clients. Measures: `internal` bombs that
ended otherwise than expected; `refusal_ms` the slowest refusal of a file of at most 1 MiB, `large_refusal_ms`
of a larger one with its transfer, and `large_work_ms` less the transfer: less the refusal of a file of the
same size whose first byte is wrong; `decode_ms` the slowest accepted bomb;
`rss_growth_mib` anonymous memory of the encoder's process after all bombs less before (its store is a mapped
file), `worker_rss_mib` the highest of its workers; `failed_calls` and `other_p99_ms` of small uploads, one
every 50 ms; `pdf_untyped` PDFs that the client neither drew nor refused with one typed error.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np

from bench import services
from bench.fault_cases.load import Outcome, outcome
from bench.fault_cases.process import anonymous_mib, peak_rss_mib
from bench.host import side
from bench.result import Measure, Result
from bench.runner import Run
from fovea.client import AsyncEncoderClient
from fovea.client.pdf import pages
from fovea.contract.errors import FoveaError
from fovea.contract.remote import error_of
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from standin import model_dir

EVERY_S = 0.05
SMALL_BYTES = PIECE_BYTES = 1 << 20
LARGE, TRANSFERS = 31 << 20, 5
QUICK = 9
"""Bombs of a quick run: the last ones, which are the largest."""


@dataclass
class Seen:
    bombs: dict[str, tuple[Outcome, int, str]] = field(default_factory=dict)
    """The outcome, size and expected reason of each."""
    others: list[Outcome] = field(default_factory=list)
    transfers: list[Outcome] = field(default_factory=list)
    """Large files that are refused by their first byte."""
    worker_mib: float = 0.0

    def wrong(self) -> list[str]:
        return [
            f"{name}: {ended.code} {ended.reason}, expected {reason or 'OK'}"
            for name, (ended, _, reason) in self.bombs.items()
            if ended.reason != reason or ended.ok == bool(reason)
        ]

    def slowest_ms(self, refused: bool, large: bool) -> list[float]:
        return [
            1e3 * ended.seconds
            for ended, size, _ in self.bombs.values()
            if ended.ok != refused and (size > SMALL_BYTES) == large
        ]


def measure(run: Run) -> Result:
    launched, _ = services.pair(model_dir(), run.folder, services.ONE_THREAD)
    running = run.start(launched)
    pid, seen = running.running[0].pid, Seen()
    before, after = asyncio.run(_bombed(run, launched.address, pid, seen))
    running.running[0].check()
    untyped = _pdfs(run)
    decoded = seen.slowest_ms(False, False) + seen.slowest_ms(False, True)
    others = [1e3 * ended.seconds for ended in seen.others]
    small, large = seen.slowest_ms(True, False), seen.slowest_ms(True, True)
    transfer = statistics.median(1e3 * ended.seconds for ended in seen.transfers)
    wrong = seen.wrong()
    measures = {
        "internal": Measure("bombs", len(wrong), len(seen.bombs), target=0, sense="at most"),
        "refusal_ms": Measure("ms", max(small), len(small), target=100, sense="at most"),
        "large_refusal_ms": Measure("ms", max(large), len(large)),
        "large_work_ms": Measure("ms", max(large) - transfer, len(large), target=100, sense="at most"),
        "decode_ms": Measure("ms", max(decoded), len(decoded)),
        "rss_growth_mib": Measure("MiB", after - before, 1, target=64, sense="at most"),
        "worker_rss_mib": Measure("MiB", seen.worker_mib, len(seen.bombs)),
        "failed_calls": Measure(
            "calls", sum(not each.ok for each in seen.others), len(others), target=0, sense="at most"
        ),
        "other_p99_ms": Measure(
            "ms", float(np.quantile(others, 0.99)), len(others), target=500, sense="at most"
        ),
        "pdf_untyped": Measure("PDFs", untyped, 1, target=0, sense="at most"),
    }
    return Result({"bombs": len(seen.bombs)}, {"fovea": side("fovea")}, measures, notes=wrong)


async def _bombed(run: Run, address: str, pid: int, seen: Seen) -> tuple[float, float]:
    """Memory of the encoder's process before and after the bombs."""
    from tests.contract.bombs import BOMBS

    chosen = list(BOMBS.items())[-run.effort(len(BOMBS), QUICK) :]
    run.status("making the bombs")  # before the uploads, which share this process and must begin when due
    made = [(name, make(), reason) for name, (make, reason) in chosen]
    async with AsyncEncoderClient(address) as client, grpc.aio.insecure_channel(address) as channel:
        stub = encoder_pb2_grpc.EncoderServiceStub(channel)
        await _small(client, -1)
        before = anonymous_mib(pid)
        other, watch = asyncio.create_task(_uploads(client, seen)), asyncio.create_task(_watched(pid, seen))
        for name, data, reason in made:
            run.status(name)
            ended = await outcome(lambda _, data=data: _sent(stub, data), 0, time.monotonic())
            seen.bombs[name] = ended, len(data), reason
        for _ in range(TRANSFERS):
            seen.transfers.append(await outcome(lambda _: _sent(stub, bytes(LARGE)), 0, time.monotonic()))
        for task in (other, watch):
            task.cancel()
        await asyncio.gather(other, watch, return_exceptions=True)
        return before, anonymous_mib(pid)


async def _sent(stub: encoder_pb2_grpc.EncoderServiceAsyncStub, data: bytes) -> None:
    pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data) or 1, PIECE_BYTES))
    try:
        await stub.PutImage(encoder_pb2.PutImageRequest(data=piece) for piece in pieces)
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from None


async def _uploads(client: AsyncEncoderClient, seen: Seen) -> None:
    """Begin a small upload when it is due, whether earlier ones have ended or not."""
    number, begin, running = 0, time.monotonic(), set[asyncio.Task[None]]()

    async def one(number: int, due: float) -> None:
        seen.others.append(await outcome(lambda at: _small(client, at), number, due))

    while True:
        due = begin + number * EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(one(number, due))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1


async def _small(client: AsyncEncoderClient, number: int) -> object:
    from tests.e2e.pictures import picture

    return await client.put(picture(64, 64, seed=1_000_000 + number))


async def _watched(pid: int, seen: Seen) -> None:
    """The highest resident memory of the processes below the encoder's."""
    while True:
        with suppress(OSError):
            for child in _below(pid):
                seen.worker_mib = max(seen.worker_mib, peak_rss_mib(child))
        await asyncio.sleep(EVERY_S)


def _below(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for names in lists for child in names.read_text().split()]
    return direct + [further for child in direct for further in _below(child)]


def _pdfs(run: Run) -> int:
    """The PDFs that raised anything else than a FoveaError. A signal would end this process."""
    from tests.contract.bombs import PDF_BOMBS

    untyped = 0
    for name, make in list(PDF_BOMBS.items())[: run.effort(len(PDF_BOMBS), 3)]:
        run.status(f"PDF: {name}")
        try:
            pages(make())
        except FoveaError:
            pass
        except Exception:
            untyped += 1
    return untyped
