"""A cold request with four pictures: prefill beside the encoder's work, against one after the other.

One encoder and two decoders, each with a core and a thread of its own: one decoder prefills what has arrived
while the rest is on its way, the other takes all rows first, a picture after another. The encoder computes a
picture at a time on both sides, because pictures that are computed in one call arrive together and leave
nothing to overlap; on one core that costs nothing.

With E and P the times to encode and to prefill one picture, of the receipts of cold requests with a single
picture in the same run, a chain of four takes 4E + 4P, and a pipeline of two stages E + P + 3 max(E, P). The
measure `ttft` is overlapped against not, and its target 1.15 times what the pipeline promises.

The model is random, with a tower and a language model that take about as long as each other for a picture on
a core, as those of 30B-A3B do at a megapixel. Of the stand-in a picture takes the tower eight times as long
as the language model, and there the target is above 1: no pipeline could be told from a chain. `--model`
takes any other checkpoint.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench import bounds, services
from bench.card import show
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts import flags
from bench.parts.overlapped import IMAGES, SIDE, Strangers, even
from bench.result import Measure, Result
from bench.turns import turns
from fovea.client import Client
from fovea.geometry import Geometry

SLACK = 1.15


@dataclass(frozen=True)
class Effort:
    seconds: float = 120.0
    least: int = 12


QUICK = Effort(seconds=5.0, least=4)


@dataclass
class Times:
    """Milliseconds, a value a turn; `encode` and `prefill` are of one picture alone."""

    overlapped: list[float] = field(default_factory=list)
    chained: list[float] = field(default_factory=list)
    encode: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)


def main() -> int:
    flags = _flags()
    options = Options.of(flags)
    return finish("overlap", options.check, lambda: run(options, flags.model))


def _flags() -> argparse.Namespace:
    made = parser("Measure prefill beside encoding against one after the other.")
    made.add_argument("--model", type=Path, help="checkpoint [default a random one, see above]")
    return made.parse_args()


def run(options: Options, model: Path | None) -> Result:
    effort = QUICK if options.quick else Effort()
    cores = sorted(os.sched_getaffinity(0))
    status = Console(stderr=True).status("starting the services")
    with status, _running(model, cores) as (overlapped, chained):
        status.update("requests with one picture and with four")
        times = measure(overlapped, chained, effort, options.seed)
    result = Result(
        bench="overlap",
        seed=options.seed,
        quick=options.quick,
        config={
            "model": model.name if model else "even",
            "image": [SIDE, SIDE],
            "images": IMAGES,
            **vars(effort),
        },
        sides={
            "ours": {"version": versions("fovea")["fovea"], "args": " ".join(flags.ONE_THREAD)},
            "chained": {
                "version": versions("fovea")["fovea"],
                "args": " ".join((*flags.ONE_THREAD, *flags.NO_OVERLAP)),
            },
        },
        measures=measures(times, len(cores), options.seed),
    )
    show("overlap", result)
    return result


@contextmanager
def _running(model: Path | None, cores: Sequence[int]) -> Iterator[tuple[str, str]]:
    """The decoders' addresses: overlapped, not. The decoders share a core; one of them is always idle."""
    with tempfile.TemporaryDirectory(prefix="fovea-overlap-") as name:
        model = model or even(Path(name) / "even")
        cache = Path(name) / "cache"
        encoder, overlapped = services.pair(model, cache, flags.ONE_THREAD, _one_at_a_time(model))
        _, other = services.pair(model, cache, flags.ONE_THREAD, decoder_flags=flags.NO_OVERLAP)
        launched = (encoder, overlapped, services.asking(encoder, other))
        with services.started(launched, (cores[0], cores[-1], cores[-1])) as running:
            running.ready()
            yield overlapped.address, other.address


def _one_at_a_time(model: Path) -> tuple[str, str]:
    """The encoder computes no two pictures in one call."""
    return "--max-batch-patches", str(Geometry.from_checkpoint(model).plan(SIDE, SIDE).patches)


def measure(overlapped: str, chained: str, effort: Effort, seed: int) -> Times:
    times, strangers = Times(), Strangers(seed)
    with Client(overlapped) as ours, Client(chained) as other:
        for client in (ours, other):
            strangers.ask(client, 1)  # not counted: connects, warms up
        for turn in turns(effort.seconds, effort.least):
            order = [(ours, times.overlapped), (other, times.chained)]
            for client, into in order if turn % 2 else order[::-1]:
                into.append(strangers.ask(client, IMAGES).ttft_ms)
            stages = strangers.ask(other, 1).receipt.stages_ms
            times.encode.append(stages.encode)
            times.prefill.append(stages.prefill)
    return times


def target(encode: float, prefill: float, images: int = IMAGES) -> float:
    """1.15 times a pipeline of two stages against a chain of them."""
    pipeline = encode + prefill + (images - 1) * max(encode, prefill)
    return SLACK * pipeline / (images * (encode + prefill))


def measures(times: Times, cores: int, seed: int) -> dict[str, Measure]:
    """Owed on a single core: there both services take turns, whatever they are set to."""
    promised = target(statistics.median(times.encode), statistics.median(times.prefill))
    found = bounds.ratio_of_medians(times.overlapped, times.chained, seed)
    return {
        "ttft": Measure.of("ratio", found, promised, "at most")
        if cores > 1
        else Measure("ratio", None, target=promised, sense="at most"),
        "ttft_overlapped_ms": _median(times.overlapped, seed),
        "ttft_chained_ms": _median(times.chained, seed),
        "encode_ms": _median(times.encode, seed),
        "prefill_ms": _median(times.prefill, seed),
    }


def _median(values: Sequence[float], seed: int) -> Measure:
    return Measure.of("ms", bounds.median(values, seed))


if __name__ == "__main__":
    sys.exit(main())
