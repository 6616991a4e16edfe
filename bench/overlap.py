"""A cold request with four pictures: prefill overlapped with encoding, against encoding before prefill.

An encoder and two decoders run, each with a core and a thread of its own. The overlapping decoder prefills
the images that have arrived while others are still being encoded. The chained decoder fetches the rows of all
images in sequence before it prefills. The encoder computes a single picture per call, because pictures of the
same call arrive together and leave nothing to overlap. On a single core a larger batch gains nothing anyway.

Let E and P be the times to encode and to prefill a picture, from the receipts of cold single-picture requests
in the same run. A chain of four takes 4E + 4P, a pipeline of two stages E + P + 3 max(E, P). The measure
`ttft` is overlapped against chained. Its target is 1.15 times the ratio of pipeline to chain.

The model is random. Its tower and its language model take about equally long for a picture on a core, as do
those of 30B-A3B at a megapixel. The tower of the stand-in takes eight times as long as its language model:
the target would be above 1, which a chain meets too. `--model` selects another checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import runner, services
from bench.host import side
from bench.parts.photo import photos
from bench.parts.timing import TimedAnswer, time_answer
from bench.result import Measure, Result, Samples, medians
from bench.runner import Run
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


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="checkpoint [default: random weights]")


def measure(run: Run) -> Result:
    effort, cores = run.effort(Effort(), QUICK), sorted(os.sched_getaffinity(0))
    model, cache = run.flags.model or _balanced_checkpoint(run.folder / "even"), run.folder / "cache"
    encoder, overlapped = services.pair(model, cache, services.ONE_THREAD, _batch_of_one(model))
    # The last of repeated flags counts.
    chained = (*services.NO_OVERLAP, "--encoders", encoder.address)
    _, other = services.pair(model, cache, services.ONE_THREAD, decoder_flags=chained)
    # The decoders share a core, because they never run at the same time.
    placed = (cores[0], cores[-1], cores[-1])
    run.start(encoder, overlapped, other, cores=placed)
    run.status("requests with a single picture and with four")
    times = time_requests(overlapped.address, other.address, effort, run.seed)
    chained_args = " ".join((*services.ONE_THREAD, *services.NO_OVERLAP))
    return Result(
        config={"model": model.name, "image": [SIDE, SIDE], "images": IMAGES, **vars(effort)},
        sides={"ours": side("fovea", " ".join(services.ONE_THREAD)), "chained": side("fovea", chained_args)},
        measures=measures(times, len(cores), run.seed),
    )


def _balanced_checkpoint(folder: Path) -> Path:
    """Random weights; tower and language model take about equally long for a picture of `SIDE`."""
    from tests import tiny  # loads torch

    return tiny.checkpoint(folder, text_hidden=256, text_layers=20)


def _batch_of_one(model: Path) -> tuple[str, str]:
    """The encoder computes a single picture per call."""
    return "--max-batch-patches", str(Geometry.from_checkpoint(model).plan(SIDE, SIDE).patches)


def time_requests(overlapped: str, chained: str, effort: Effort, seed: int) -> Samples:
    """`ttft_overlapped_ms`, `ttft_chained_ms`, and of a single picture `encode_ms` and `prefill_ms`."""
    times, pictures = defaultdict[str, list[float]](list), photos(seed, SERIES, SIDE)
    with Client(overlapped) as ours, Client(chained) as other:
        for client in (ours, other):
            _time_cold(client, pictures, 1)  # not counted: connects, warms up
        for turn in turns(effort.seconds, effort.least):
            order = [(ours, "ttft_overlapped_ms"), (other, "ttft_chained_ms")]
            for client, name in order if turn % 2 else order[::-1]:
                times[name].append(_time_cold(client, pictures, IMAGES).ttft_ms)
            stages = _time_cold(other, pictures, 1).receipt.stages_ms
            times["encode_ms"].append(stages.encode)
            times["prefill_ms"].append(stages.prefill)
    return times


def _time_cold(client: Client, pictures: Iterator[bytes], count: int) -> TimedAnswer:
    """A cold request; its pictures are stored before it, so that no upload is counted."""
    digests = [client.put(picture).facts.digest for picture in itertools.islice(pictures, count)]
    return time_answer(client, "What is this?", digests).came_from("encoded")


def target(encode: float, prefill: float, images: int = IMAGES) -> float:
    """1.15 times a pipeline of two stages against a chain of them."""
    pipeline = encode + prefill + (images - 1) * max(encode, prefill)
    return SLACK * pipeline / (images * (encode + prefill))


def measures(times: Samples, cores: int, seed: int) -> dict[str, Measure]:
    """`ttft` is owed on a single core, where both services always take turns."""
    promised = target(statistics.median(times["encode_ms"]), statistics.median(times["prefill_ms"]))
    overlapped, chained = times["ttft_overlapped_ms"], times["ttft_chained_ms"]
    ttft = Measure.ratio(overlapped, chained, seed, promised, "at most")
    return {"ttft": ttft if cores > 1 else ttft.owed(), **medians("ms", times, seed)}


if __name__ == "__main__":
    runner.main("overlap", "Measure prefill overlapped with encoding.", measure, add_flags)
