"""What encoders told of images, for when the owner of an image does not answer.

Never asked while it does, so that an image which was deleted is not found here. Independent of gRPC.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from decoder_svc.encoders.source import FetchReport, RowPlacement, RowRequest
from fovea.contract.image import StoredImage

K = TypeVar("K")
V = TypeVar("V")
IMAGES = 4096
PLACES = 512  # each may hold an index for every row


class Known:
    """The facts of the images used last, until they expire, and the rows that plans chose of some."""

    def __init__(self, images: int = IMAGES, clock: Callable[[], float] = time.time) -> None:
        self._images = images
        self._clock = clock
        self._stored: OrderedDict[str, StoredImage] = OrderedDict()
        self._placed: OrderedDict[RowRequest, RowPlacement] = OrderedDict()

    def note(self, stored: StoredImage) -> StoredImage:
        _put(self._stored, stored.facts.digest, stored, self._images)
        return stored

    def forget(self, digest: str) -> None:
        self._stored.pop(digest, None)

    def find(self, digest: str) -> StoredImage | None:
        stored = self._stored.get(digest)
        return stored if stored is not None and stored.expires > self._clock() else None

    def note_placed(self, wanted: RowRequest, placed: RowPlacement) -> RowPlacement:
        if placed.known:
            _put(self._placed, wanted, placed, PLACES)
        return placed

    def find_placed(self, wanted: RowRequest) -> RowPlacement | None:
        """The same rows; finding them cost nothing now."""
        placed = self._placed.get(wanted)
        return replace(placed, report=FetchReport()) if placed else None


def _put(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
