"""Encoders that share the images by affinity: each image has one owner, as the decoder chooses it.

Asks the encoders directly, each image at its owner, so that no cache of a decoder stands before the rows.
Knows running encoders; the more of them are named, the larger the fleet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from bench.parts.photo import photo
from decoder_svc.encoders.fleet import owner
from fovea.client import EncoderClient
from fovea.client.messages import id_of

SIDE = 256
CALLERS = 2
"""For each encoder, so that none of them waits for its caller."""


class FleetClient:
    """The clients of a fleet's encoders, by address."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._stack = ExitStack()
        self._clients = {address: self._stack.enter_context(EncoderClient(address)) for address in addresses}

    def __enter__(self) -> FleetClient:
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        return len(self._clients)

    def put(self, picture: bytes) -> str:
        """Store a picture at its owner; returns its id."""
        return self._of(id_of(picture)).put(picture).facts.digest

    def encode(self, digest: str) -> tuple[str, int]:
        """Where the rows came from, and their bytes."""
        rows = self._of(digest).encode(digest)
        return rows.source, len(rows.data)

    def _of(self, digest: str) -> EncoderClient:
        return self._clients[owner(digest, self._clients)]


def pictures(seed: int, count: int) -> list[bytes]:
    return [photo(seed + at, SIDE) for at in range(count)]


def asked(pool: int, asks: int, seed: int) -> list[int]:
    """Places in a pool of pictures, drawn evenly."""
    places: list[int] = np.random.default_rng(seed).integers(pool, size=asks).tolist()
    return places


def hits(fleet: FleetClient, pool: Sequence[bytes], places: Sequence[int]) -> list[bool]:
    """Whether each ask, one after the other, found rows that were computed before."""
    digests = [fleet.put(picture) for picture in pool]
    return [fleet.encode(digests[place])[0] == "rows" for place in places]


def burst(fleet: FleetClient, fresh: Sequence[bytes]) -> tuple[float, int]:
    """Seconds until the rows of all these new pictures are here, asked for together; and their bytes."""
    digests = [fleet.put(picture) for picture in fresh]
    with ThreadPoolExecutor(CALLERS * fleet.size) as callers:
        begin = time.perf_counter()
        answers = list(callers.map(fleet.encode, digests))
        seconds = time.perf_counter() - begin
    if {source for source, _ in answers} != {"encoded"}:
        raise RuntimeError("pictures that were never seen were not encoded")
    return seconds, sum(count for _, count in answers)
