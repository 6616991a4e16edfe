"""Real callers: they ask decoders about pictures, new or stored, and time the answers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack

from bench.parts.photo import photos
from bench.parts.timing import Round, TimedAnswer, time_answer, time_round
from bench.simulation.fleet import Request
from bench.simulation.load import POOL, Load
from fovea.client import Client, Image, Message, Sampling

QUESTION = "What is shown?"


class Caller:
    """Callers of the decoders at `addresses`, in turns. Pictures are those of a seed and a series."""

    def __init__(
        self, addresses: Sequence[str], load: Load, seed: int, series: int, stack: ExitStack
    ) -> None:
        self._clients = [stack.enter_context(Client(address)) for address in addresses]
        self._load = load
        self._seed = seed
        self._unseen = photos(seed, series, load.side)
        self._pool: list[str] = []
        self._texts = (f"{chr(65 + number % 26)}{number} {series}: " for number in itertools.count())

    @property
    def client(self) -> Client:
        return self._clients[0]

    @property
    def tokens(self) -> int:
        return self._load.tokens

    def new_pictures(self, count: int) -> list[bytes]:
        return list(itertools.islice(self._unseen, count))

    def warm_up(self) -> None:
        """Store the pool, and connect all callers to all decoders. Not measured."""
        self._pool = [self.client.put(picture).facts.digest for picture in self.new_pictures(POOL)]
        self.ask_all(self._pool, self._load.callers)
        for _ in self._clients:
            self.ask_all(self._pool, self._load.callers)

    def ask_all(self, images: Sequence[str | bytes], callers: int, tokens: int = 0) -> Round:
        """A request about each image; request number n goes to decoder n modulo their number."""

        def ask(numbered: tuple[int, str, str | bytes]) -> TimedAnswer:
            number, text, image = numbered
            question = [Message("user", [text, Image(image), QUESTION])]
            sampling = Sampling(max_new_tokens=tokens or self.tokens)
            return time_answer(self._clients[number % len(self._clients)], question, sampling=sampling)

        numbers = range(len(images))
        return time_round(ask, list(zip(numbers, self._texts, images, strict=False)), callers)

    def round(self, requests: Sequence[Request]) -> Round:
        """A round of the load."""
        pictures = iter(self.new_pictures(sum(request.new for request in requests)))
        images = [next(pictures) if request.new else self._pool[request.image] for request in requests]
        timed = self.ask_all(images, self._load.callers)
        for request, answer in zip(requests, timed.answers, strict=True):
            answer.came_from("encoded" if request.new else "rows")
        return timed
