"""The spine measured end to end: encode, hit, store, wire, time to first token, output tokens a second.

One run starts the stand-in's two services and an encoder whose rows are as wide as those of 30B-A3B, measures
each comparison with both sides in turns, prints a card, and last the JSON line. Times are of the stand-in on
this machine; the ratios are what carries over.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import bounds, services
from bench.card import show
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts import answers, encode, store, wire
from bench.result import Measure, Result
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


def main() -> int:
    options = Options.of(parser("Measure the spine: encode, store, wire, first token, tokens.").parse_args())
    return finish("spine", options.check, lambda: run(options))


def run(options: Options) -> Result:
    effort = QUICK if options.quick else Effort()
    console = Console(stderr=True)
    # The disk is measured alone, before anything else may write.
    with console.status("store"):
        disk = [store.measure(effort.store_round_s) for _ in range(bounds.FEWEST_ROUNDS)]
    with console.status("starting the services") as status, _running() as (encoder, decoder, wide):
        status.update("encode")
        encoded = encode.measure(encoder, model_dir(), effort.part_s, effort.least, options.seed)
        status.update("wire")
        wired = wire.measure(wide, effort.part_s, effort.least, options.seed)
        status.update("first tokens")
        first = answers.first_tokens(decoder, effort.part_s, effort.least, options.seed)
        status.update("tokens a second")
        rates = answers.rates(decoder, CONCURRENCIES, effort.rounds, effort.tokens, options.seed)
    result = Result(
        bench="spine",
        seed=options.seed,
        quick=options.quick,
        config=_config(effort, wired),
        sides=_sides(disk, encoded, wired),
        measures=_measures(disk, encoded, wired, first, rates, options.seed),
    )
    show("spine", result)
    return result


@contextmanager
def _running() -> Iterator[tuple[str, str, str]]:
    """The addresses of the stand-in's encoder and decoder, and of the encoder with wide rows."""
    with tempfile.TemporaryDirectory(prefix="fovea-spine-") as name:
        folder = Path(name)
        encoder, decoder = services.pair(model_dir(), folder / "cache")
        wide = services.encoder(wire.checkpoint(folder / "wide"), folder / "wide-cache")
        with services.started((encoder, decoder, wide)) as running:
            running.ready()
            yield encoder.address, decoder.address, wide.address


def _measures(
    disk: Sequence[Mapping[str, float]],
    encoded: encode.EncodeTimes,
    wired: wire.WireTimes,
    first: answers.FirstTokens,
    rates: Mapping[int, Sequence[float]],
    seed: int,
) -> dict[str, Measure]:
    """The figures that are promised, and beside them what explains them."""

    def median(unit: str, samples: Sequence[float]) -> Measure:
        return Measure.of(unit, bounds.median(samples, seed))

    alone, together = (rates[concurrency] for concurrency in CONCURRENCIES)
    return {
        "encode_ms": median("ms", encoded.cold),
        "encode_floor_ms": median("ms", encoded.floor),
        "hit_ms": median("ms", encoded.hit),
        "store_get_vs_memcpy": _of_rounds(disk, "store_get_vs_memcpy", STORE_TARGET),
        "store_put_vs_write": _of_rounds(disk, "store_put_vs_write_fsync"),
        "wire_vs_socket": Measure.of("ratio", bounds.ratio_of_medians(wired.socket, wired.wire, seed)),
        "ttft_cold_ms": median("ms", first.cold),
        "ttft_warm_ms": median("ms", first.warm),
        "tokens_per_s": median("tokens/s", together),
        "tokens_per_s_alone": median("tokens/s", alone),
    }


def _of_rounds(disk: Sequence[Mapping[str, float]], name: str, target: float | None = None) -> Measure:
    return Measure.of("ratio", bounds.median_of_rounds([one[name] for one in disk]), target)


def _config(effort: Effort, wired: wire.WireTimes) -> dict[str, Any]:
    return {
        "model": model_dir().name,
        "image": [encode.SIDE, encode.SIDE],
        "store_record_bytes": store.RECORD_BYTES,
        "wire_rows": wired.rows,
        "wire_row_bytes": wired.row_bytes,
        "concurrency": list(CONCURRENCIES),
        **vars(effort),
    }


def _sides(
    disk: Sequence[Mapping[str, float]], encoded: encode.EncodeTimes, wired: wire.WireTimes
) -> dict[str, dict[str, Any]]:
    """Ours and every peer, with the medians that the ratios were made of."""

    def disk_ms(step: str) -> float:
        return round(bounds.median_of_rounds([one[f"{step}_ms"] for one in disk]).value, 3)

    def rows_per_s(seconds: Sequence[float]) -> float:
        return round(wired.rows / bounds.median(seconds).value)

    return {
        "ours": {
            "version": versions("fovea")["fovea"],
            "args": "",
            "put_ms": round(bounds.median(encoded.put).value, 3),
            "store_get_ms": disk_ms("get"),
            "store_put_ms": disk_ms("put"),
            "wire_rows_per_s": rows_per_s(wired.wire),
        },
        "memcpy": {
            "version": f"numpy {versions('numpy')['numpy']}",
            "args": "copyto",
            "ms": disk_ms("memcpy"),
        },
        "write_fsync": {"version": platform.release(), "args": "pwrite, fsync", "ms": disk_ms("write_fsync")},
        "socket": {
            "version": platform.release(),
            "args": "loopback, sendall to recv_into, a process each side",
            "rows_per_s": rows_per_s(wired.socket),
        },
        "tower": {
            "version": f"torch {versions('torch')['torch']}",
            "args": "the tower alone, in one process",
        },
    }


if __name__ == "__main__":
    sys.exit(main())
