"""What a patch is told of its place: a vector that is added to it, and how its queries and keys are turned.

Both depend on the size of the grid alone, so the latest grids are kept. Patches stand in the order of cells:
the four of a 2x2 square one after another. Knows no pixels and no weights but the learned grid of places.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KEPT_BYTES = 64 * 1024 * 1024
"""A grid of 64 x 64 patches takes 10 MiB at width 1152 in bf16, 2 MiB at width 128 in fp32."""

Kept = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Positions:
    """`added` (patches, width) in the dtype of the tower; `turns` (patches, head_dim / 2), complex64."""

    added: Tensor
    turns: Tensor

    @property
    def nbytes(self) -> int:
        return self.added.nbytes + self.turns.nbytes

    def only(self, kept: Kept | None, cell: int) -> Positions:
        """Those of the patches of kept cells, `cell` patches each."""
        if kept is None:
            return self
        places = torch.from_numpy(kept).to(self.added.device)
        return Positions(_cells(self.added, places, cell), _cells(self.turns, places, cell))


class PositionTables:
    """By grid; not for two threads at once."""

    def __init__(
        self, learned: Tensor, frequencies: Tensor, merge: int, kept_bytes: int = KEPT_BYTES
    ) -> None:
        """`learned` (side * side, width), `frequencies` (head_dim / 4) of the axial rotation."""
        self._side = round(len(learned) ** 0.5)
        self._learned = learned
        self._frequencies = frequencies
        self._merge = merge
        self._limit = kept_bytes
        self._latest: OrderedDict[tuple[int, int], Positions] = OrderedDict()

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in self._latest.values())

    def of(self, height: int, width: int, kept: Kept | None = None) -> Positions:
        """Of a grid of `height` x `width` patches."""
        made = self._latest.pop((height, width), None)
        if made is None:
            made = Positions(self._added(height, width), self._turns(height, width))
        self._latest[height, width] = made
        while self.nbytes > self._limit:
            self._latest.popitem(last=False)
        return made.only(kept, self._merge**2)

    def _added(self, height: int, width: int) -> Tensor:
        """The learned grid resampled, bilinear with corners aligned, in float32 as transformers does it."""
        grid = self._learned.float().view(self._side, self._side, -1)
        rows: Tensor = torch.tensordot(self._hats(height), grid, dims=1)
        return self._in_cells(self._hats(width) @ rows).to(self._learned.dtype)

    def _hats(self, count: int) -> Tensor:
        """(count, side): how much of each learned place is in each of `count` evenly laid ones."""
        device = self._learned.device
        place = torch.arange(count, device=device, dtype=torch.float32) * (self._side - 1) / max(count - 1, 1)
        distance = (place[:, None] - torch.arange(self._side, device=device)).abs()
        hats: Tensor = (1 - distance).clamp(min=0)
        return hats

    def _turns(self, height: int, width: int) -> Tensor:
        """The first half of the pairs of a head turn by the row, the others by the column."""
        device = self._frequencies.device
        by_row, by_column = (
            torch.arange(count, device=device)[:, None].float() * self._frequencies.float()
            for count in (height, width)
        )
        angles = torch.cat(
            [by_row[:, None].expand(-1, width, -1), by_column[None].expand(height, -1, -1)], dim=-1
        )
        angles = self._in_cells(angles)
        return torch.polar(torch.ones_like(angles), angles)

    def _in_cells(self, grid: Tensor) -> Tensor:
        """(height, width, n) in raster order to (patches, n) in the order of cells."""
        height, width, merge = *grid.shape[:2], self._merge
        cells = grid.view(height // merge, merge, width // merge, merge, -1).transpose(1, 2)
        return cells.reshape(height * width, -1)


def _cells(table: Tensor, places: Tensor, cell: int) -> Tensor:
    return table.view(-1, cell, table.shape[1])[places].flatten(0, 1)
