"""The hand-off: rows a second from an encoder to a decoder, against the same bytes over a raw socket.

Rows are as wide as those of 30B-A3B, 16 MiB an image, and lie in the encoder's store: every image is a hit.
Both sides of a comparison are measured in the same turns, with one image at a time, which is the figure that
is promised, and with several at once. Rows out of shared memory are set against gRPC in the same turns, and
so are fp8 rows of a second encoder, half of the bytes, against bf16 rows over the socket.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import bounds, services
from bench.card import show
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts import wire
from bench.parts.wire import WireTimes
from bench.result import Measure, Result

BF16_TARGET = 0.4
FP8_TARGET = 0.7
SAME_HOST_TARGET = 5.0
AT_ONCE = (1, 8, 32)
ARENA = ("--arena-bytes", str(64 << 20))
SMALLER = ("--row-dtype", "fp8")


@dataclass(frozen=True)
class Effort:
    """How long each comparison is measured."""

    part_s: float = 20.0
    least: int = 10


QUICK = Effort(part_s=3.0, least=4)


def main() -> int:
    options = Options.of(parser("Measure rows a second from encoder to decoder.").parse_args())
    return finish("handoff", options.check, lambda: run(options))


def run(options: Options) -> Result:
    effort = QUICK if options.quick else Effort()
    console = Console(stderr=True)
    with console.status("starting two encoders") as status, _encoders() as (address, smaller):
        wired = {}
        for images in AT_ONCE:
            status.update(f"{images} at once")
            wired[images] = wire.measure(address, effort.part_s, effort.least, options.seed, images, smaller)
    result = Result(
        bench="handoff",
        seed=options.seed,
        quick=options.quick,
        config={"rows": wired[1].rows, "row_bytes": wired[1].row_bytes, "at_once": AT_ONCE, **vars(effort)},
        sides=_sides(wired),
        measures=_measures(wired, options.seed),
    )
    show("handoff", result)
    return result


@contextmanager
def _encoders() -> Iterator[tuple[str, str]]:
    """The addresses of two encoders with wide rows, in bf16 and in fp8."""
    with tempfile.TemporaryDirectory(prefix="fovea-handoff-") as name:
        folder = Path(name)
        model = wire.checkpoint(folder / "wide")
        encoder = services.encoder(model, folder / "cache", ARENA)
        smaller = services.encoder(model, folder / "smaller", SMALLER)
        with services.started((encoder, smaller)) as running:
            running.ready()
            yield encoder.address, smaller.address


def _measures(wired: Mapping[int, WireTimes], seed: int) -> dict[str, Measure]:
    """`bf16` is of one image at a time; the others with their number behind the name have no target."""
    ratios = {
        "bf16" if images == 1 else f"bf16_{images}": Measure.of(
            "ratio",
            bounds.ratio_of_medians(times.socket, times.wire, seed),
            BF16_TARGET if images == 1 else None,
        )
        for images, times in wired.items()
    }
    shared = {
        "same_host" if images == 1 else f"same_host_{images}": Measure.of(
            "ratio",
            bounds.ratio_of_medians(times.wire, times.same_host, seed),
            SAME_HOST_TARGET if images == 1 else None,
        )
        for images, times in wired.items()
    }
    smaller = {
        "fp8" if images == 1 else f"fp8_{images}": Measure.of(
            "ratio",
            bounds.ratio_of_medians(times.socket, times.fp8, seed),
            FP8_TARGET if images == 1 else None,
        )
        for images, times in wired.items()
    }
    return {**ratios, **smaller, **shared}


def _sides(wired: Mapping[int, WireTimes]) -> dict[str, dict[str, Any]]:
    def rows_per_s(side: str) -> dict[str, int]:
        return {
            f"rows_per_s_{images}": round(images * times.rows / bounds.median(getattr(times, side)).value)
            for images, times in wired.items()
        }

    return {
        "ours": {"version": versions("fovea")["fovea"], "args": "", **rows_per_s("wire")},
        "fp8": {
            "version": versions("fovea")["fovea"],
            "args": " ".join(SMALLER),
            **rows_per_s("fp8"),
        },
        "same_host": {
            "version": versions("fovea")["fovea"],
            "args": " ".join(ARENA),
            **rows_per_s("same_host"),
        },
        "socket": {
            "version": platform.release(),
            "args": "loopback, sendall to recv_into, a process each side, a thread each connection",
            **rows_per_s("socket"),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
