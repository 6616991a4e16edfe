"""What choosing the decoder by image gains over taking turns: prefix hits, and the time to the first token.

The traffic is drawn as in `bench.reuse`, with short questions and answers: 80 % of the requests are about a
picture of an earlier request, and all texts differ. Three set-ups get the same requests about the same
pictures, one after another, each with decoders of its own: two decoders of a client that chooses by image
(`fovea.client`), two decoders that get the requests in turns, and a single decoder.

Two thirds of the pictures of a round fit in the KV cache of one of two decoders, as in a fleet whose decoders
together hold what is in use and none of which does alone. The single decoder has a cache as large as both
together, so its hit rate is the best that two can reach. With caches for everything, taking turns would
compute each picture twice instead of again and again, and the choice by image would gain less: `--kv-part 1`
measures that.

Callers wait for their answers, so a faster set-up also gets more requests a second. `--rate` sends the same
number of requests a second to each.

Every decoder has a single thread. The rows of all pictures are stored before the clock starts: the encoder's
work is the same for all, and would compete for the cores.

- `prefix_loss`: points of prefix hit rate that the choice by image loses against the single decoder. The rate
  is that of cached prompt tokens among all prompt tokens, from the receipts.
- `ttft_vs_round_robin`: mean time to the first token over all requests, against taking turns.
- `shared_encodes`, `shared_hit_vs_lmdb`: of encoders that share their rows; owed without that part.

The bootstrap draws whole rounds, because the requests of a round wait for each other.
"""

from __future__ import annotations

import itertools
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from bench import bounds, reuse, runner, services
from bench.bounds import Bounded, Floats
from bench.host import side
from bench.parts import shared
from bench.parts.photo import photo
from bench.parts.timing import Round, TimedAnswer, of_length, time_answer, time_arrivals, time_round
from bench.result import Measure, Result
from bench.reuse import Protocol, Request
from bench.runner import Run
from fovea.cli.children import Launch
from fovea.client import Client, EncoderClient
from fovea.geometry import Geometry
from fovea.rendezvous import FREE_CALLS, SLACK
from standin import model_dir

SIDE = 1024
KV_PART = 2 / 3
"""The share of a round's pictures that the KV cache of one of two decoders holds, without `--kv-part`."""
LOSS_TARGET = 3.0
TTFT_TARGET = 0.7
TEXT_TOKENS = 128
"""More than a question and its answer take."""
MAX_CONTEXT = 2048
"""No more than the smallest KV cache."""
FULL = Protocol(rounds=6, requests=150, pictures=30, concurrency=8, words=20, tokens=8)
QUICK = Protocol(rounds=2, requests=50, pictures=10, concurrency=8, words=20, tokens=8)
DECODERS = {"affinity": 2, "round_robin": 2, "one": 1}
"""By set-up."""

Rounds = Mapping[str, Sequence[Round]]
"""By set-up."""
Choose = Callable[[], Client]
"""The client of the next request."""


def measure(run: Run) -> Result:
    protocol = run.effort(FULL, QUICK)
    kv_tokens = _kv_tokens(protocol, run.flags.kv_part)
    launched = _launches(run, kv_tokens)
    encoder, *decoders = launched
    run.start(*launched)
    addresses = iter([decoder.address for decoder in decoders])
    fleets = {name: [next(addresses) for _ in range(count)] for name, count in DECODERS.items()}
    seeds = [7919 * run.seed + turn for turn in range(protocol.rounds)]
    turns = [_turn(run, encoder.address, fleets, protocol, seed) for seed in seeds]
    rounds = {name: [turn[name] for turn in turns] for name in fleets}
    return Result(
        config={
            "model": model_dir().name,
            "image": [SIDE, SIDE],
            "reuse": protocol.reuse,
            "kv_part": run.flags.kv_part,
            "kv_tokens": kv_tokens,
            "rate": run.flags.rate,
            "rows_stored": True,
            "free_calls": FREE_CALLS,
            "slack": SLACK[0] / SLACK[1],
            **vars(protocol),
            "concurrency": None if run.flags.rate else protocol.concurrency,
        },
        sides={
            "ours": side("fovea", " ".join(services.ONE_THREAD), **_figures(rounds["affinity"])),
            "round_robin": side("fovea", "", **_figures(rounds["round_robin"])),
            "one": side("fovea", "", **_figures(rounds["one"])),
        },
        measures=measures(rounds, run.seed) | _shared(run),
    )


def _kv_tokens(protocol: Protocol, part: float = KV_PART) -> int:
    """Of one of two decoders: its share of the pictures, and room for the texts of all that run."""
    visual = Geometry.from_checkpoint(model_dir()).plan(SIDE, SIDE).tokens
    return round(part * protocol.pictures * visual) + TEXT_TOKENS * protocol.concurrency


def _launches(run: Run, kv_tokens: int) -> list[Launch]:
    """An encoder, then the decoders of all set-ups, which use it."""
    sizes = [2 * kv_tokens // count for count in DECODERS.values() for _ in range(count)]
    encoder = services.pair(model_dir(), run.folder / "encoder", flags=services.ONE_THREAD)[0]
    decoders = (
        services.pair(
            model_dir(),
            run.folder / str(number),
            flags=services.ONE_THREAD,
            decoder_flags=("--kv-tokens", str(size), "--max-context", str(MAX_CONTEXT)),
            encoder=encoder.address,
        )[1]
        for number, size in enumerate(sizes)
    )
    return [encoder, *decoders]


def _turn(
    run: Run, encoder: str, fleets: Mapping[str, Sequence[str]], protocol: Protocol, seed: int
) -> dict[str, Round]:
    """The same round in every set-up. The set-up that goes first changes from round to round."""
    run.status(f"round {seed}: rows")
    pool = _stored(encoder, fleets["one"][0], protocol, seed)
    names = list(fleets)
    order = [*names[seed % len(names) :], *names[: seed % len(names)]]
    rounds = {}
    for name in order:
        run.status(f"round {seed}: {name}")
        with ExitStack() as stack:
            choose = _chooser(name, fleets[name], stack)
            requests = reuse.requests(protocol, seed)
            rounds[name] = _run_round(choose, pool, requests, protocol, run.flags.rate)
    return rounds


def _stored(encoder: str, decoder: str, protocol: Protocol, seed: int) -> list[str]:
    """The ids of the pictures of a round, whose rows the encoder has stored."""
    with Client(decoder) as client, EncoderClient(encoder) as rows:
        files = (photo(1009 * (seed + 1) + number, SIDE) for number in range(protocol.pictures))
        pool = [client.put(file).facts.digest for file in files]
        for digest in pool:
            rows.encode(digest)
    return pool


def _chooser(name: str, addresses: Sequence[str], stack: ExitStack) -> Choose:
    """A single client, which chooses by itself, or a client for each decoder, in turns."""
    targets = addresses if name == "round_robin" else [",".join(addresses)]
    clients: Iterator[Client] = itertools.cycle([stack.enter_context(Client(each)) for each in targets])
    return lambda: next(clients)


def _run_round(
    choose: Choose, pool: Sequence[str], requests: Sequence[Request], protocol: Protocol, rate: float
) -> Round:
    def ask(request: Request, arrival: float | None = None) -> TimedAnswer:
        sampling = of_length(protocol.tokens, request.seed)
        return time_answer(choose(), request.text, [pool[request.picture]], sampling, begin=arrival)

    timed = time_arrivals(ask, requests, rate) if rate else time_round(ask, requests, protocol.concurrency)
    if any(answer.receipt.totals.encodes for answer in timed.answers):
        raise RuntimeError("an image was encoded although its rows were stored")
    return timed


def measures(rounds: Rounds, seed: int) -> dict[str, Measure]:
    ours, turns = ([timed.ttft_ms for timed in rounds[name]] for name in ("affinity", "round_robin"))
    loss = _loss(rounds, seed)
    return {
        "prefix_loss": Measure.of("points", loss, LOSS_TARGET, "at most"),
        "ttft_vs_round_robin": Measure.ratio(
            ours, turns, seed, TTFT_TARGET, "at most", bounds.ratio_of_means
        ),
    }


def _loss(rounds: Rounds, seed: int) -> Bounded:
    """The difference of the hit rates, in points."""
    samples = [
        [*_tokens(one), *_tokens(ours)] for one, ours in zip(rounds["one"], rounds["affinity"], strict=True)
    ]

    def difference(drawn: Floats) -> Floats:
        cached, prompt, our_cached, our_prompt = np.moveaxis(drawn.sum(axis=1), -1, 0)
        return np.asarray(cached / prompt - our_cached / our_prompt)

    return bounds.bootstrap(samples, difference, seed).scaled(100)


def _tokens(timed: Round) -> tuple[int, int]:
    """Prompt tokens of a round: those that were cached, and all."""
    totals = [answer.receipt.totals for answer in timed.answers]
    return (
        sum(total.cached_prompt_tokens for total in totals),
        sum(total.visual_tokens + total.text_tokens for total in totals),
    )


def _figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """What the measures are made of, with the mean of each stage."""
    ttft = [ms for timed in rounds for ms in timed.ttft_ms]
    stages = [vars(answer.receipt.stages_ms) for timed in rounds for answer in timed.answers]
    cached, prompt = np.sum([_tokens(timed) for timed in rounds], axis=0).tolist()
    return {
        "hit_rate": round(cached / prompt, 4),
        "prompt_tokens": prompt,
        "ttft_mean_ms": round(float(np.mean(ttft)), 1),
        "ttft_p50_ms": round(float(np.median(ttft)), 1),
        "tokens_per_s": round(float(np.mean([timed.tokens_per_s for timed in rounds])), 1),
        "stages_ms": {name: round(float(np.mean([each[name] for each in stages])), 1) for name in stages[0]},
    }


def _shared(run: Run) -> dict[str, Measure]:
    """The measures of encoders that share their rows; owed without that part."""
    if run.flags.without_shared:
        return {"shared_encodes": Measure("images", None), "shared_hit_vs_lmdb": Measure("ratio", None)}
    return dict(shared.measure(run).measures)


def _rate(text: str) -> float:
    if float(text) < 0:
        raise ArgumentTypeError(f"{text}: must be at least 0")
    return float(text)


def add_flags(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--kv-part",
        type=float,
        default=KV_PART,
        help="share of a round's pictures in the KV cache of one of two decoders [default 2/3]",
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=0.0,
        help="requests that arrive a second [default 0: 8 callers, who wait for their answers]",
    )
    parser.add_argument(
        "--without-shared",
        action="store_true",
        help="leave out the encoders that share rows, which `python -m bench.parts.shared` measures alone",
    )


if __name__ == "__main__":
    runner.main(
        "affinity", "Measure what choosing a decoder by image gains over taking turns.", measure, add_flags
    )
