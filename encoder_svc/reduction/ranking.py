"""An order of the rows of one image, and its form at rest.

An order names places of the merged grid, not numbers of rows, so that it answers by itself which rows a plan
sends: neither the rows nor the pixels are needed for it. Knows no way to make one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
GridIndices = npt.NDArray[np.int32]

# Raise by one whenever our code would order the same rows in another way: old sidecars no longer fit.
RANKING_REVISION = 1
_ENTRY = np.dtype([("place", "<i4"), ("gain", "<f4")])


@dataclass(frozen=True)
class Ranking:
    """`order`: places, the most important first. `gains`: what each added when it was chosen."""

    order: GridIndices
    gains: Floats

    def pack(self) -> bytes:
        entries = np.empty(len(self.order), _ENTRY)
        entries["place"], entries["gain"] = self.order, self.gains
        return entries.tobytes()

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Ranking | None:
        """None where these are not whole entries, or where a place stands twice."""
        if len(data) == 0 or len(data) % _ENTRY.itemsize:
            return None
        entries = np.frombuffer(data, _ENTRY)
        order, gains = entries["place"].astype(np.int32), entries["gain"].astype(np.float32)
        return cls(order, gains) if len(np.unique(order)) == len(order) else None

    def of(self, places: GridIndices) -> bool:
        """Whether it orders exactly these places, which ascend."""
        return np.array_equal(np.sort(self.order), places)
