"""The ranking of an image's rows, and its serialized form.

A ranking names indices of the merged grid, not row numbers, so it decides which rows a plan sends without
rows or pixels. Independent of how rankings are computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fovea.contract.row_stream import GridIndices

Floats = npt.NDArray[np.float32]

# Increment when the code would rank the same rows differently. Older sidecars then no longer match.
RANKING_REVISION = 1
_ENTRY = np.dtype([("place", "<i4"), ("gain", "<f4")])


@dataclass(frozen=True)
class Ranking:
    """`order`: indices, most important first. `gains`: what each added when it was picked."""

    order: GridIndices
    gains: Floats

    def pack(self) -> bytes:
        entries = np.empty(len(self.order), _ENTRY)
        entries["place"], entries["gain"] = self.order, self.gains
        return entries.tobytes()

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Ranking | None:
        """None if the data are not whole entries or an index repeats."""
        if len(data) == 0 or len(data) % _ENTRY.itemsize:
            return None
        entries = np.frombuffer(data, _ENTRY)
        order, gains = entries["place"].astype(np.int32), entries["gain"].astype(np.float32)
        return cls(order, gains) if len(np.unique(order)) == len(order) else None

    def of(self, indices: GridIndices) -> bool:
        """Whether it ranks exactly these indices, which ascend."""
        return np.array_equal(np.sort(self.order), indices)
