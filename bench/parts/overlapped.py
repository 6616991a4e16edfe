"""Requests about several pictures that nobody has seen, and what one such picture costs alone.

Knows one decoder at a time; which way it is set is its caller's business.
"""

from __future__ import annotations

from pathlib import Path

from bench.parts.heard import Heard, hear
from bench.parts.photo import photo
from fovea.client import Client, Sampling

SIDE = 768
IMAGES = 4
SHORT = Sampling(max_new_tokens=4)


def even(folder: Path) -> Path:
    """A random checkpoint whose two halves take about as long as each other for a picture of `SIDE`."""
    from tests import tiny  # writes with torch: not before it is needed

    return tiny.checkpoint(folder, text_hidden=256, text_layers=20)


class Strangers:
    """Pictures that no service has seen; every call gives the next ones."""

    def __init__(self, seed: int) -> None:
        self._next = 5_000_011 * (seed + 1)

    def ask(self, client: Client, images: int) -> Heard:
        """A cold request; the pictures are stored before it, so that no upload is counted."""
        digests = [client.put(picture).facts.digest for picture in self._draw(images)]
        return hear(client, "What is this?", digests, SHORT).came_from("encoded")

    def _draw(self, images: int) -> list[bytes]:
        first, self._next = self._next, self._next + images
        return [photo(seed, SIDE) for seed in range(first, first + images)]
