"""A cold request with four pictures: prefill overlapped with encoding, against one after the other.

One encoder and two decoders, each with a core and a thread of its own. One decoder prefills the images that
have arrived while the others are still being encoded; the other first takes the rows of all images, one image
after another. The encoder computes one picture at a time for both: pictures computed in one call arrive
together and leave nothing to overlap, and on one core a larger batch gains nothing.

With E and P the times to encode and to prefill one picture, from the receipts of cold requests with a single
picture in the same run, a chain of four takes 4E + 4P, and a pipeline of two stages E + P + 3 max(E, P). The
measure `ttft` is overlapped against chained; its target is 1.15 times what the pipeline promises.

The model is random, with a tower and a language model that take about equally long for a picture on a core,
as those of 30B-A3B do at a megapixel. With the stand-in the tower takes eight times as long as the language
model: its target would be above 1, and a pipeline could not be told from a chain. `--model` takes any other
checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import services
from bench.host import side
from bench.parts.photo import photos
from bench.parts.timed_answer import TimedAnswer, time_answer
from bench.result import Measure, Result, medians
from bench.runner import Bench, Run
from bench.turns import turns
from fovea.client import Client
from fovea.geometry import Geometry

SLACK = 1.15
SIDE = 768
IMAGES = 4
SERIES = 41


@dataclass(frozen=True)
class Effort:
    seconds: float = 120.0
    least: int = 12


QUICK = Effort(seconds=5.0, least=4)


@dataclass
class Times:
    """Milliseconds, a value for each turn; `encode` and `prefill` are those of one picture alone."""

    overlapped: list[float] = field(default_factory=list)
    chained: list[float] = field(default_factory=list)
    encode: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="checkpoint [default a random one, see above]")


def measure(run: Run) -> Result:
    effort, model = run.effort(Effort(), QUICK), run.flags.model
    cores = sorted(os.sched_getaffinity(0))
    with _services(run.folder, model, cores) as (overlapped, chained):
        run.status("requests with one picture and with four")
        times = time_requests(overlapped, chained, effort, run.seed)
    chained_args = " ".join((*services.ONE_THREAD, *services.NO_OVERLAP))
    return Result(
        config={
            "model": model.name if model else "even",
            "image": [SIDE, SIDE],
            "images": IMAGES,
            **vars(effort),
        },
        sides={
            "ours": side("fovea", " ".join(services.ONE_THREAD)),
            "chained": side("fovea", chained_args),
        },
        measures=measures(times, len(cores), run.seed),
    )


@contextmanager
def _services(folder: Path, model: Path | None, cores: Sequence[int]) -> Iterator[tuple[str, str]]:
    """The addresses of the overlapped and the chained decoder, which share a core in turns."""
    model = model or _balanced_checkpoint(folder / "even")
    cache = folder / "cache"
    encoder, overlapped = services.pair(model, cache, services.ONE_THREAD, _batch_of_one(model))
    _, other = services.pair(model, cache, services.ONE_THREAD, decoder_flags=services.NO_OVERLAP)
    launched = (encoder, overlapped, services.asking(encoder, other))
    with services.started(launched, (cores[0], cores[-1], cores[-1])):
        yield overlapped.address, other.address


def _balanced_checkpoint(folder: Path) -> Path:
    """Random weights; tower and language model take about equally long for a picture of `SIDE`."""
    from tests import tiny  # loads torch

    return tiny.checkpoint(folder, text_hidden=256, text_layers=20)


def _batch_of_one(model: Path) -> tuple[str, str]:
    """The encoder computes one picture a call."""
    return "--max-batch-patches", str(Geometry.from_checkpoint(model).plan(SIDE, SIDE).patches)


def time_requests(overlapped: str, chained: str, effort: Effort, seed: int) -> Times:
    times, pictures = Times(), photos(seed, SERIES, SIDE)
    with Client(overlapped) as ours, Client(chained) as other:
        for client in (ours, other):
            _time_cold(client, pictures, 1)  # not counted: connects, warms up
        for turn in turns(effort.seconds, effort.least):
            order = [(ours, times.overlapped), (other, times.chained)]
            for client, into in order if turn % 2 else order[::-1]:
                into.append(_time_cold(client, pictures, IMAGES).ttft_ms)
            stages = _time_cold(other, pictures, 1).receipt.stages_ms
            times.encode.append(stages.encode)
            times.prefill.append(stages.prefill)
    return times


def _time_cold(client: Client, pictures: Iterator[bytes], count: int) -> TimedAnswer:
    """A cold request; its pictures are stored before it, so that no upload is counted."""
    digests = [client.put(picture).facts.digest for picture in itertools.islice(pictures, count)]
    return time_answer(client, "What is this?", digests).came_from("encoded")


def target(encode: float, prefill: float, images: int = IMAGES) -> float:
    """1.15 times a pipeline of two stages against a chain of them."""
    pipeline = encode + prefill + (images - 1) * max(encode, prefill)
    return SLACK * pipeline / (images * (encode + prefill))


def measures(times: Times, cores: int, seed: int) -> dict[str, Measure]:
    """`ttft` is owed on a single core, where both services take turns in any case."""
    promised = target(statistics.median(times.encode), statistics.median(times.prefill))
    ttft = Measure.ratio(times.overlapped, times.chained, seed, promised, "at most")
    samples = {
        "ttft_overlapped_ms": times.overlapped,
        "ttft_chained_ms": times.chained,
        "encode_ms": times.encode,
        "prefill_ms": times.prefill,
    }
    return {"ttft": ttft if cores > 1 else ttft.owed(), **medians("ms", samples, seed)}


BENCH = Bench("overlap", "Measure prefill overlapped with encoding.", measure, add_flags)

if __name__ == "__main__":
    sys.exit(BENCH.main())
