"""A simulated fleet under load: N encoders, M decoders, callers. Deterministic for a seed.

A request follows `docs/structure.md`: a new picture is uploaded through the decoder to the two encoders that
rank first for it, a request about a picture fetches its rows from the first, the engine prefills and decodes.
Images are ranked by the decoder's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from simpy import AllOf, Environment, Event

from bench.simulation.cores import OwnCores, Processor, SharedCores, Steps, Thread
from bench.simulation.costs import Costs
from bench.simulation.decoder import Decoder, Limits
from bench.simulation.encoder import Encoder
from decoder_svc.encoders.fleet import ranked

Rank = Callable[[str, Iterable[str]], list[str]]
COPIES = 2
"""As `upload_copies` of the decoder."""
WIDTH = 1.0
"""Cores of a decoder and of the callers: the threads of each take turns at a Python interpreter. The tower of
an encoder computes outside of the interpreter.
"""


@dataclass(frozen=True)
class Setup:
    """A fleet of `encoders` and `decoders`."""

    encoders: int
    decoders: int

    def __str__(self) -> str:
        return f"{self.encoders}x{self.decoders}"


@dataclass(frozen=True)
class Request:
    """About a picture; a new picture is uploaded first."""

    image: int
    new: bool


@dataclass(frozen=True)
class Shape:
    """Sizes of every request, and `max_batch_patches` of the encoders."""

    patches: int
    prompt: int
    tokens: int
    batch: int = 1024


@dataclass
class Outcome:
    """Seconds of simulated time, and to the first and the last token of each request that ended."""

    seconds: float = 0.0
    ttft_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)

    @property
    def requests_per_s(self) -> float:
        return len(self.total_s) / self.seconds

    @property
    def mean_ttft_s(self) -> float:
        return fmean(self.ttft_s)

    def __add__(self, other: Outcome) -> Outcome:
        """The other after this."""
        return Outcome(self.seconds + other.seconds, self.ttft_s + other.ttft_s, self.total_s + other.total_s)

    def note(self, ttft_s: float, total_s: float) -> None:
        self.ttft_s.append(ttft_s)
        self.total_s.append(total_s)


class Fleet:
    """`cores` are shared by all processes, the callers' included; None gives each thread its own.

    `loops` are the event loops of each service, 1 as it is built. `rank` ranks the encoders for an image.
    """

    def __init__(
        self,
        env: Environment,
        setup: Setup,
        costs: Costs,
        shape: Shape,
        cores: float | None,
        limits: Limits | None = None,
        loops: int = 1,
        rank: Rank = ranked,
    ) -> None:
        names = [f"encoder-{number}" for number in range(setup.encoders)]
        decoders = [f"decoder-{number}" for number in range(setup.decoders)]
        widths = dict.fromkeys([*decoders, "callers"], WIDTH)
        processor: Processor = OwnCores(env) if cores is None else SharedCores(env, cores, widths)
        self._env, self._costs, self._shape, self._rank = env, costs, shape, rank
        self._caller = Thread(env, processor, "callers", 1 if cores else 2**31)
        self.encoders: Mapping[str, Encoder] = {
            name: Encoder(env, name, costs, processor, shape.batch, loops) for name in names
        }
        self.decoders: Sequence[Decoder] = [
            Decoder(env, name, costs, processor, limits or Limits(), loops) for name in decoders
        ]

    def owners(self, image: int) -> list[Encoder]:
        """The encoders that rank first for an image, as many as store its upload."""
        return [self.encoders[name] for name in self._rank(f"image {image}", self.encoders)[:COPIES]]

    def hold(self, images: Iterable[int]) -> None:
        """Have the rows of images stored."""
        for image in images:
            self.owners(image)[0].hold(image)

    def serve(self, request: Request, number: int, outcome: Outcome) -> Steps:
        """A request from its beginning to its last token, through the decoder of its number."""
        decoder, owners = self.decoders[number % len(self.decoders)], self.owners(request.image)
        begun = self._env.now
        if request.new:
            yield from self._put(decoder, owners)
        yield from self._caller.run(self._costs.client_ask)
        with decoder.preparing.request() as place:
            yield place
            yield from decoder.loop.run(self._costs.decoder_ask)
            yield self._env.timeout(self._costs.ask_wait)
            yield from owners[0].rows(request.image, self._shape.patches)
            sequence = decoder.submit(self._shape.prompt, self._shape.tokens)
            yield sequence.first
        ttft_s, later = self._env.now - begun, self._shape.tokens - 1
        yield sequence.last
        yield from decoder.loop.run(later * self._costs.decoder_token)
        yield from self._caller.run(later * self._costs.client_token)
        outcome.note(ttft_s, self._env.now - begun)

    def _put(self, decoder: Decoder, owners: Sequence[Encoder]) -> Steps:
        yield from self._caller.run(self._costs.client_put)
        yield from decoder.loop.run(self._costs.decoder_put)
        yield self._env.timeout(self._costs.put_wait)
        yield AllOf(self._env, [self._env.process(owner.put()) for owner in owners])


def closed_loop(fleet: Fleet, env: Environment, requests: Sequence[Request], callers: int) -> Outcome:
    """`callers` share the requests: each begins the next one as soon as its last one has ended."""
    numbered, outcome = iter(enumerate(requests)), Outcome()

    def call_in_turn() -> Steps:
        for number, request in numbered:
            yield from fleet.serve(request, number, outcome)

    env.run(AllOf(env, [env.process(call_in_turn()) for _ in range(callers)]))
    outcome.seconds = float(env.now)
    return outcome


def open_loop(
    fleet: Fleet, env: Environment, requests: Iterator[Request], rate: float, warm_up_s: float, seconds: float
) -> Outcome:
    """Poisson arrivals at `rate` a second. Those of the `seconds` after the warm-up count, and all end."""
    outcome, random = Outcome(seconds), np.random.default_rng(0)
    counted: list[Event] = []

    def arrive() -> Steps:
        for number, request in enumerate(requests):
            yield env.timeout(random.exponential(1 / rate))
            if env.now > warm_up_s + seconds:
                return
            counts = env.now > warm_up_s
            call = env.process(fleet.serve(request, number, outcome if counts else Outcome()))
            counted.extend([call] if counts else [])

    env.run(env.process(arrive()))
    env.run(AllOf(env, counted))
    return outcome
