"""What the caches are worth under load: with all of them against without, on the same pictures and texts.

Two pairs of services run side by side and take turns; only one of them computes at a time. Without caches the
encoder keeps no rows and the decoder neither rows nor KV; images that are asked for at the same moment still
share one computation, as they do everywhere. Measures are the side with caches against the side without: the
mean, p90 and p99 of the time to the first token over all requests of all rounds, and output tokens a second.
A round is drawn as a whole for the bounds, because its requests wait for each other.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from bench import bounds, services
from bench.bounds import Bounded, Floats
from bench.card import show
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts import flags
from bench.parts.reuse import SIDE, Load, Protocol
from bench.parts.reuse import run as run_load
from bench.result import Measure, Result
from standin import model_dir

MEAN_TARGET = 0.5
TAIL_TARGET = 1.0
TOKENS_TARGET = 1.3

Pair = tuple[Load, Load]
"""One round: with caches, without."""


@dataclass(frozen=True)
class Effort:
    rounds: int
    protocol: Protocol


FULL = Effort(6, Protocol(requests=200, pictures=40, concurrency=64, words=165, tokens=150))
QUICK = Effort(2, Protocol(requests=10, pictures=2, concurrency=8, words=165, tokens=150))


def main() -> int:
    options = Options.of(parser("Measure what the caches are worth under load.").parse_args())
    return finish("reuse", options.check, lambda: run(options))


def run(options: Options) -> Result:
    effort = QUICK if options.quick else FULL
    status = Console(stderr=True).status("starting the services")
    with status, _running() as sides:
        status.update("rounds")
        rounds = [_round(sides, effort.protocol, 7919 * options.seed + turn) for turn in range(effort.rounds)]
    result = Result(
        bench="reuse",
        seed=options.seed,
        quick=options.quick,
        config={
            "model": model_dir().name,
            "image": [SIDE, SIDE],
            "rounds": effort.rounds,
            "reuse": effort.protocol.reuse,
            "text_tokens": _text_tokens(rounds),
            **vars(effort.protocol),
        },
        sides={
            "ours": {"version": versions("fovea")["fovea"], "args": "", **_facts([w for w, _ in rounds])},
            "without": {
                "version": versions("fovea")["fovea"],
                "args": " ".join((*flags.NO_ROW_STORE, *flags.NO_DECODER_CACHES)),
                **_facts([without for _, without in rounds]),
            },
        },
        measures=measures(rounds, options.seed),
    )
    show("reuse", result)
    return result


@contextmanager
def _running() -> Iterator[tuple[str, str]]:
    """The decoders' addresses: with caches, without."""
    with tempfile.TemporaryDirectory(prefix="fovea-reuse-") as name:
        with_caches = services.pair(model_dir(), Path(name) / "with")
        without = services.pair(
            model_dir(),
            Path(name) / "without",
            encoder_flags=flags.NO_ROW_STORE,
            decoder_flags=flags.NO_DECODER_CACHES,
        )
        with services.started((*with_caches, *without)) as running:
            running.ready()
            yield with_caches[-1].address, without[-1].address


def _round(sides: tuple[str, str], protocol: Protocol, seed: int) -> Pair:
    """Who goes first changes from round to round."""
    order = sides if seed % 2 else sides[::-1]
    found = {address: run_load(address, protocol, seed) for address in order}
    return found[sides[0]], found[sides[1]]


def measures(rounds: Sequence[Pair], seed: int) -> dict[str, Measure]:
    """Each with caches against without."""
    ttft = np.array([[load.ttft_ms for load in pair] for pair in rounds])

    def tail(percent: float) -> Bounded:
        return _ratio(ttft, lambda times: np.percentile(times, percent, axis=1), seed)

    rates = np.array([[[load.tokens_per_s] for load in pair] for pair in rounds])
    mean = _ratio(ttft, lambda times: times.mean(axis=1), seed)
    tokens = _ratio(rates, lambda values: values.mean(axis=1), seed)
    return {
        "ttft_mean": Measure.of("ratio", mean, MEAN_TARGET, "at most"),
        "ttft_p90": Measure.of("ratio", tail(90), TAIL_TARGET, "at most"),
        "ttft_p99": Measure.of("ratio", tail(99), TAIL_TARGET, "at most"),
        "tokens_per_s": Measure.of("ratio", tokens, TOKENS_TARGET),
    }


def _ratio(samples: Floats, statistic: Callable[[Floats], Floats], seed: int) -> Bounded:
    """`samples` is (rounds, 2, requests); `statistic` maps (draws, all requests of a side) to (draws,)."""

    def ratio(drawn: Floats) -> Floats:
        with_caches, without = (drawn[:, :, side].reshape(len(drawn), -1) for side in (0, 1))
        return np.asarray(statistic(with_caches) / statistic(without))

    return bounds.bootstrap(samples, ratio, seed)


def _text_tokens(rounds: Sequence[Pair]) -> float:
    heard = [one for load, _ in rounds for one in load.heard]
    return round(float(np.mean([one.receipt.totals.text_tokens for one in heard])), 1)


def _facts(loads: Sequence[Load]) -> dict[str, float]:
    ttft = [ms for load in loads for ms in load.ttft_ms]
    receipts = [one.receipt for load in loads for one in load.heard]
    return {
        "ttft_mean_ms": round(float(np.mean(ttft)), 1),
        "ttft_p50_ms": round(float(np.median(ttft)), 1),
        "tokens_per_s": round(float(np.mean([load.tokens_per_s for load in loads])), 1),
        "encodes": sum(receipt.totals.encodes for receipt in receipts),
        "cached_prompt_tokens": sum(receipt.totals.cached_prompt_tokens for receipt in receipts),
    }


if __name__ == "__main__":
    sys.exit(main())
