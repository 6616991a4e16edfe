"""Remembers image facts and row placements for when an image's owner does not answer.

Not used while the owner answers, so a deleted image is never reported. Independent of gRPC.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from decoder_svc.encoders.source import RowRequest
from fovea.contract.image import StoredImage
from fovea.contract.row_stream import RowPlacement
from fovea.contract.rows import RowOrigin

K = TypeVar("K")
V = TypeVar("V")
IMAGES = 1024
TENANTS = 64
PLACEMENTS = 32  # each may hold an index for every row; these bounds are of each tenant


class Known:
    """Facts of the most recently used images, until they expire, and row placements of recent plans."""

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

    def without(self, digest: str) -> Known:
        """A copy that does not know an image."""
        copy = Known(self._images, self._clock)
        copy._stored.update((key, stored) for key, stored in self._stored.items() if key != digest)
        copy._placed.update((rows, placed) for rows, placed in self._placed.items() if rows.digest != digest)
        return copy

    def find(self, digest: str) -> StoredImage | None:
        stored = self._stored.get(digest)
        return stored if stored is not None and stored.expires > self._clock() else None

    def note_placed(self, wanted: RowRequest, placed: RowPlacement) -> RowPlacement:
        if placed.known:
            _put(self._placed, wanted, placed, PLACEMENTS)
        return placed

    def find_placed(self, wanted: RowRequest) -> RowPlacement | None:
        """The last placement of these rows, without an origin: nothing was encoded for this request."""
        placed = self._placed.get(wanted)
        return placed and replace(placed, header=replace(placed.header, origin=RowOrigin.NONE))


class KnownByTenant:
    """What is known of the images of each tenant, of the most recent tenants."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, Known] = OrderedDict()

    def of(self, tenant: str) -> Known:
        _put(self._tenants, tenant, self._tenants.get(tenant) or Known(), TENANTS)
        return self._tenants[tenant]

    def forget(self, tenant: str, digest: str = "") -> None:
        """Forget an image of a tenant, or all of them. What running calls still learn is not remembered."""
        known = self._tenants.pop(tenant, None)
        if known is not None and digest:
            self._tenants[tenant] = known.without(digest)


def _put(entries: OrderedDict[K, V], key: K, value: V, max_entries: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > max_entries:
        entries.popitem(last=False)
