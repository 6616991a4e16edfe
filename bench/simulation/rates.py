"""Rates of what the tables for GPUs need beyond the calibration, measured on this machine's cores."""

from __future__ import annotations

import random
import time
from pathlib import Path

from bench import postgres, services
from bench.fault_cases.process import cpu_s
from bench.parts import wire
from bench.parts.usage import Traffic
from bench.runner import Run
from bench.simulation.capacity import SharedRates
from bench.simulation.gpu import RowCosts
from bench.simulation.usage import own_s
from decoder_svc.ledger.database import Database, database_url
from decoder_svc.ledger.retention import Retention
from decoder_svc.ledger.writer import LedgerWriter
from fovea.cli.children import Child
from fovea.client import EncoderClient

KEPT = Retention(days=36_500, max_records=10**9)
POLL_S = 0.005
NODE_BYTES = 25e9 / 8
"""Of a Valkey node with a network of 25 Gbit/s, an assumption."""


def row_costs(run: Run, images: int) -> RowCosts:
    """CPU seconds a row of an encoder that sends stored rows of 30B-A3B's width, and of their receiver."""
    model = wire.checkpoint(run.folder / "wide")
    encoder, _ = services.pair(model, run.folder / "wide-cache", services.ONE_THREAD)
    running = run.start(encoder).running[0]
    rows = wire.fetch(encoder.address, 2, run.seed)  # not counted: encodes, connects
    sent, received = cpu_s(running.pid), own_s()
    wire.fetch(encoder.address, images, run.seed)
    sent, received = cpu_s(running.pid) - sent, own_s() - received
    running.stop()
    return RowCosts(sent / images / rows, received / images / rows)


def shared_rates(run: Run, encoder: Child, records: int, probes: int) -> SharedRates:
    return SharedRates(
        records_per_s(Database(database_url(run.folder / "ledger", "")), records, run.seed),
        _postgres_records(run, records),
        NODE_BYTES,
        probe_s(encoder, probes),
    )


def _postgres_records(run: Run, records: int) -> float | None:
    """None where PostgreSQL is not installed."""
    if not postgres.is_installed():
        return None
    server = postgres.PostgresServer()
    run.stack.callback(server.remove)
    server.start()
    return records_per_s(Database(database_url(Path(), server.new_database())), records, run.seed)


def records_per_s(database: Database, records: int, seed: int) -> float:
    """Records that a decoder's writer stores a second, after its first batch."""
    writer = LedgerWriter(database, KEPT, records)
    for record in Traffic(random.Random(seed)).calm(records):
        writer.add(record)
    writer.start()
    first, begin = _wait(writer, 1)
    last, end = _wait(writer, records)
    writer.close()
    database.close()
    return (last - first) / (end - begin)


def _wait(writer: LedgerWriter, records: int) -> tuple[int, float]:
    """The written records, once there are so many, and the time. Raises RuntimeError if any is dropped."""
    while writer.written < records:
        if writer.dropped:
            raise RuntimeError(f"the ledger dropped {writer.dropped} of {records} records")
        time.sleep(POLL_S)
    return writer.written, time.perf_counter()


def probe_s(encoder: Child, count: int) -> float:
    """CPU seconds of an encoder for a call of GetServerInfo, with which decoders check it."""
    with EncoderClient(encoder.address) as client:
        client.info()
        before = cpu_s(encoder.pid)
        for _ in range(count):
            client.info()
        return (cpu_s(encoder.pid) - before) / count
