"""The same picture asked about again and again: cold, its rows in the cache, its prefix in the KV cache.

Cold is a picture that nobody has seen. A turn later, when its rows have been written, it is asked about twice
more. With a text in front that nobody has used no token of the picture can be in the KV cache, so its rows
are what is reused, wherever they rest. With the picture in front, as when it was cold, its KV can be. The
receipt tells which of them it was; a figure of another thing is refused, but for the prefix, which an engine
may not reuse at all.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.parts.heard import Heard, hear
from bench.parts.photo import photo
from bench.services import Services
from bench.turns import turns
from fovea.cli.children import Launch
from fovea.client import Client, Message, Sampling
from fovea.client.messages import Image

SIDE = 768
WARM_ASKS = 3
SHORT = Sampling(max_new_tokens=4)


@dataclass
class Visits:
    """What was heard, a value a turn."""

    cold: list[Heard] = field(default_factory=list)
    rows: list[Heard] = field(default_factory=list)
    prefix: list[Heard] = field(default_factory=list)

    @property
    def prefixes_were_hit(self) -> bool:
        return all(heard.sources == {"prefix"} for heard in self.prefix)


@dataclass
class Restarts:
    """Milliseconds to the first token, a value a restart: the first ask, and the median of asks after it."""

    first: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def visit(address: str, seconds: float, least: int, seed: int) -> Visits:
    """Against a running decoder, with a new picture every turn."""
    found, fronts = Visits(), _fronts(seed)
    with Client(address) as client:
        previous = _picture(seed, -1)
        hear(client, "What is this?", [previous], SHORT)  # not counted: connects, warms up
        for turn in turns(seconds, least):
            picture = _picture(seed, turn)
            found.cold.append(hear(client, "What is this?", [picture], SHORT).came_from("encoded"))
            found.prefix.append(hear(client, "How many are there?", [previous], SHORT))
            found.rows.append(_rows_hit(client, next(fronts), previous))
            previous = picture
    return found


def restart(services: Services, launched: Sequence[Launch], rounds: int, seed: int) -> Restarts:
    """Both services anew, `rounds` times, and each time the picture that was asked about before they went.

    The last of `launched` is the decoder. The caller is connected before its first ask, as a pool of
    connections would be; nothing else has been asked of the services by then.
    """
    found, fronts = Restarts(), _fronts(seed + 1)
    picture = _picture(seed, 0)
    for _ in range(rounds):
        services = services.restarted(launched)
        services.ready()
        with Client(launched[-1].address) as client:
            client.info()
            found.first.append(_rows_hit(client, next(fronts), picture).ttft_ms)
            asks = [_rows_hit(client, next(fronts), picture).ttft_ms for _ in range(WARM_ASKS)]
            found.warm.append(statistics.median(asks))
    return found


def _rows_hit(client: Client, front: str, picture: bytes) -> Heard:
    asked = [Message("user", [front, Image(picture), "How many are there?"])]
    return hear(client, asked, [], SHORT).came_from("rows")


def _fronts(seed: int) -> Iterator[str]:
    """Texts of a few tokens that differ from their first one on."""
    return (f"{chr(ord('A') + number % 26)}{number} {seed}: " for number in itertools.count())


def _picture(seed: int, turn: int) -> bytes:
    return photo(3_000_017 * (seed + 1) + turn, SIDE)
