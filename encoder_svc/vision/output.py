"""What the tower computes for an image. Independent of torch, so that the batcher can pass it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fovea.contract.row_stream import GridIndices


@dataclass(frozen=True, eq=False)
class TowerOutput:
    """`rows` as bytes of a layout, a row per present cell in raster order.

    `saliency` has a float32 per row: the attention that its four patches receive in the last block, summed
    over all queries, mean over heads. It sums to the number of patches. None if not requested.
    """

    rows: bytes
    saliency: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Timings:
    """Milliseconds per stage of a call; zero for a stage that did not run.

    `tower_ms` is of the whole batch, `queue_ms` covers all waiting, `total_ms` is from the call to the first
    row.
    """

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    tower_ms: float = 0.0
    store_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, eq=False)
class Encoded:
    """The rows of an image: of all its cells, or of those at the raster indices `kept`.

    `saliency` has a float per row if requested; `uniform` then tells which rows show uniform patches.
    """

    rows: bytes
    grid_thw: tuple[int, int, int]
    timings: Timings
    kept: GridIndices | None = None
    saliency: NDArray[np.float32] | None = None
    uniform: NDArray[np.bool_] | None = None
