"""The spine, end to end: encode, hit, store, wire, time to first token, output tokens a second.

Starts both services with the stand-in, and an encoder whose rows are as wide as those of 30B-A3B. The sides
of each comparison take turns. Times hold for the stand-in on this machine; ratios carry over.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from bench import bounds, runner, services
from bench.host import side
from bench.parts import latency, store, wire
from bench.result import Measure, Result, Samples, medians
from bench.runner import Run
from standin import model_dir

STORE_TARGET = 0.4
CONCURRENCIES = (1, 8)


@dataclass(frozen=True)
class Effort:
    """How long each part measures."""

    part_s: float = 20.0
    least: int = 10
    store_round_s: float = 6.0
    rounds: int = 12
    tokens: int = 128


QUICK = Effort(part_s=2.0, least=6, store_round_s=0.2, rounds=6, tokens=32)


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), QUICK)
    # The disk is measured alone, before anything else may write.
    run.status("store")
    disk = [store.measure(effort.store_round_s) for _ in range(bounds.FEWEST_ROUNDS)]
    run.status("starting the services")
    encoder, decoder = services.pair(model_dir(), run.folder / "cache")
    wide, _ = services.pair(wire.checkpoint(run.folder / "wide"), run.folder / "wide-cache")
    run.start(encoder, decoder, wide)
    run.status("encode")
    encoded = latency.measure_encoding(encoder.address, model_dir(), effort.part_s, effort.least, run.seed)
    run.status("wire")
    wired = wire.measure(wide.address, effort.part_s, effort.least, run.seed)
    run.status("first tokens")
    first = latency.measure_first_tokens(decoder.address, effort.part_s, effort.least, run.seed)
    run.status("tokens a second")
    rates = latency.measure_rates(decoder.address, CONCURRENCIES, effort.rounds, effort.tokens, run.seed)
    return Result(
        config={
            "model": model_dir().name,
            "image": [latency.SIDE, latency.SIDE],
            "store_record_bytes": store.RECORD_BYTES,
            "wire_rows": wired.rows,
            "wire_row_bytes": wired.row_bytes,
            "concurrency": list(CONCURRENCIES),
            **vars(effort),
        },
        sides=_sides(disk, encoded, wired),
        measures=measures(disk, encoded, wired, first, rates, run.seed),
    )


def measures(
    disk: Sequence[Mapping[str, float]],
    encoded: Samples,
    wired: wire.WireTimes,
    first: Samples,
    rates: Mapping[int, Sequence[float]],
    seed: int,
) -> dict[str, Measure]:
    """The promised measures, and those that explain them."""
    single, concurrent = (list(rates[concurrency]) for concurrency in CONCURRENCIES)
    ratios = ("store_get_vs_memcpy", "store_put_vs_write_fsync")
    get, put = (bounds.median_of_rounds([timed[name] for timed in disk]) for name in ratios)
    encodes = {name: encoded[name] for name in ("encode_ms", "encode_floor_ms", "hit_ms")}
    return {
        **medians("ms", encodes, seed),
        "store_get_vs_memcpy": Measure.of("ratio", get, STORE_TARGET),
        "store_put_vs_write": Measure.of("ratio", put),
        "wire_vs_socket": Measure.ratio(wired.socket, wired.wire, seed),
        **medians("ms", first, seed),
        **medians("tokens/s", {"tokens_per_s": concurrent, "tokens_per_s_alone": single}, seed),
    }


def _sides(
    disk: Sequence[Mapping[str, float]], encoded: Samples, wired: wire.WireTimes
) -> dict[str, dict[str, Any]]:
    """Ours and every peer, with the medians that the ratios are made of."""

    def disk_ms(step: str) -> float:
        return round(bounds.median_of_rounds([timed[f"{step}_ms"] for timed in disk]).value, 3)

    def rows_per_s(seconds: Sequence[float]) -> float:
        return round(wired.rows / bounds.median(seconds).value)

    kernel = platform.release()
    socket = "loopback, sendall to recv_into, a process each side"
    return {
        "ours": side(
            "fovea",
            put_ms=round(bounds.median(encoded["put_ms"]).value, 3),
            store_get_ms=disk_ms("get"),
            store_put_ms=disk_ms("put"),
            wire_rows_per_s=rows_per_s(wired.wire),
        ),
        "memcpy": {"version": f"numpy {np.__version__}", "args": "copyto", "ms": disk_ms("memcpy")},
        "write_fsync": {"version": kernel, "args": "pwrite, fsync", "ms": disk_ms("write_fsync")},
        "socket": {"version": kernel, "args": socket, "rows_per_s": rows_per_s(wired.socket)},
        "tower": {"version": f"torch {version('torch')}", "args": "the tower alone, in one process"},
    }


if __name__ == "__main__":
    runner.main("spine", "Measure the spine: encode, store, wire, first token, tokens.", measure)
