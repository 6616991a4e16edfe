"""Position embeddings and rotary angles of patches.

Both depend only on the grid size, so the latest grids are cached. Patches are in cell order: the four of a
2x2 cell are adjacent. Independent of pixels and of all weights but the learned position grid.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from fovea.contract.row_stream import GridIndices

CACHE_BYTES = 64 * 1024 * 1024
"""A grid of 64 x 64 patches takes 10 MiB at width 1152 in bf16, 2 MiB at width 128 in fp32."""


@dataclass(frozen=True, eq=False)
class Positions:
    """`added` (patches, width) in the tower's dtype; `rotations` (patches, head_dim / 2), complex64."""

    added: Tensor
    rotations: Tensor

    @property
    def nbytes(self) -> int:
        return self.added.nbytes + self.rotations.nbytes

    def only(self, kept: GridIndices | None, cell: int) -> Positions:
        """The positions of the patches in kept cells, `cell` patches each."""
        if kept is None:
            return self
        indices = torch.from_numpy(kept).to(self.added.device)
        return Positions(_cells(self.added, indices, cell), _cells(self.rotations, indices, cell))


def axial_frequencies(head_dim: int) -> Tensor:
    """(head_dim / 4,) float32, from 1 downward: half of a head's pairs rotates by row, half by column."""
    half = head_dim // 2
    frequencies: Tensor = 1.0 / (10_000.0 ** (torch.arange(0, half, 2, dtype=torch.float32) / half))
    return frequencies


class PositionTables:
    """Positions by grid. Not thread-safe."""

    def __init__(
        self, learned: Tensor, frequencies: Tensor, merge: int, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """`learned` (side * side, width), `frequencies` (head_dim / 4) of the axial rotation."""
        self._side = round(len(learned) ** 0.5)
        self._learned = learned
        self._frequencies = frequencies
        self._merge = merge
        self._cache_bytes = cache_bytes
        self._latest: OrderedDict[tuple[int, int], Positions] = OrderedDict()

    @property
    def nbytes(self) -> int:
        return sum(positions.nbytes for positions in self._latest.values())

    def of(self, height: int, width: int, kept: GridIndices | None = None) -> Positions:
        """Positions of a grid of `height` x `width` patches."""
        positions = self._latest.pop((height, width), None)
        if positions is None:
            positions = Positions(self._added(height, width), self._rotations(height, width))
        self._latest[height, width] = positions
        while self.nbytes > self._cache_bytes:
            self._latest.popitem(last=False)
        return positions.only(kept, self._merge**2)

    def _added(self, height: int, width: int) -> Tensor:
        """The learned grid resampled, bilinear with aligned corners, in float32 as transformers does."""
        grid = self._learned.float().view(self._side, self._side, -1)
        rows: Tensor = torch.tensordot(self._hats(height), grid, dims=1)
        return self._in_cells(self._hats(width) @ rows).to(self._learned.dtype)

    def _hats(self, count: int) -> Tensor:
        """(count, side): weight of each learned position in each of `count` evenly spaced positions."""
        device = self._learned.device
        coordinate = (
            torch.arange(count, device=device, dtype=torch.float32) * (self._side - 1) / max(count - 1, 1)
        )
        distance = (coordinate[:, None] - torch.arange(self._side, device=device)).abs()
        hats: Tensor = (1 - distance).clamp(min=0)
        return hats

    def _rotations(self, height: int, width: int) -> Tensor:
        """The first half of the pairs of a head rotates by row, the second by column."""
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
        """(height, width, n) in raster order to (patches, n) in cell order."""
        height, width, merge = *grid.shape[:2], self._merge
        cells = grid.view(height // merge, merge, width // merge, merge, -1).transpose(1, 2)
        return cells.reshape(height * width, -1)


def _cells(table: Tensor, indices: Tensor, cell: int) -> Tensor:
    return table.view(-1, cell, table.shape[1])[indices].flatten(0, 1)
