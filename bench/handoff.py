"""The hand-off: rows a second from an encoder to a decoder, against the same bytes over a raw socket.

Rows are as wide as those of 30B-A3B, 16 MiB an image, and are in the encoder's store, so every image is a
hit. Both sides of a comparison take turns. Targets apply to a single image at a time; several at once are
measured too. The same turns compare rows from shared memory with gRPC, and fp8 rows of a second encoder,
which have half of the bytes, with bf16 rows over the socket.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import bounds, runner, services
from bench.host import side
from bench.parts import wire
from bench.parts.wire import WireTimes
from bench.result import Measure, Result
from bench.runner import Run

COMPARED = {
    "bf16": ("socket", "wire", 0.4),
    "fp8": ("socket", "fp8", 0.7),
    "same_host": ("wire", "same_host", 5.0),
}
"""By measure: the sides whose seconds are divided, and the target of the ratio."""
AT_ONCE = (1, 8, 32)
ARENA = ("--arena-bytes", str(64 << 20))
SMALLER = ("--row-dtype", "fp8")


@dataclass(frozen=True)
class Effort:
    """How long each comparison is measured."""

    part_s: float = 20.0
    least: int = 10


QUICK = Effort(part_s=3.0, least=4)


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), QUICK)
    model = wire.checkpoint(run.folder / "wide")
    encoder, _ = services.pair(model, run.folder / "cache", encoder_flags=ARENA)
    smaller, _ = services.pair(model, run.folder / "smaller", encoder_flags=SMALLER)
    run.start(encoder, smaller)
    times = {}
    for images in AT_ONCE:
        run.status(f"{images} at once")
        times[images] = wire.measure(
            encoder.address, effort.part_s, effort.least, run.seed, images, smaller.address
        )
    return Result(
        config={"rows": times[1].rows, "row_bytes": times[1].row_bytes, "at_once": AT_ONCE, **vars(effort)},
        sides=_sides(times),
        measures=measures(times, run.seed),
    )


def measures(times: Mapping[int, WireTimes], seed: int) -> dict[str, Measure]:
    """With several images at once, the name ends with their number, and there is no target."""
    return {
        name if images == 1 else f"{name}_{images}": Measure.ratio(
            getattr(timed, above), getattr(timed, below), seed, target if images == 1 else None
        )
        for name, (above, below, target) in COMPARED.items()
        for images, timed in times.items()
    }


def _sides(times: Mapping[int, WireTimes]) -> dict[str, dict[str, Any]]:
    def rows_per_s(name: str) -> dict[str, Any]:
        return {
            f"rows_per_s_{images}": round(images * timed.rows / bounds.median(getattr(timed, name)).value)
            for images, timed in times.items()
        }

    return {
        "ours": side("fovea", **rows_per_s("wire")),
        "fp8": side("fovea", " ".join(SMALLER), **rows_per_s("fp8")),
        "same_host": side("fovea", " ".join(ARENA), **rows_per_s("same_host")),
        "socket": {
            "version": platform.release(),
            "args": "loopback, sendall to recv_into, a process each side, a thread each connection",
            **rows_per_s("socket"),
        },
    }


if __name__ == "__main__":
    runner.main("handoff", "Measure rows a second from encoder to decoder.", measure)
