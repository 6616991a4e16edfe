"""What the tower computes for an image. Independent of torch, so that the batcher can pass it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TowerOutput:
    """`rows` as bytes of a layout, a row per present cell in raster order.

    `saliency` has a float32 per row: the attention that its four patches receive in the last block, summed
    over all queries, mean over heads. It sums to the number of patches. None if not requested.
    """

    rows: bytes
    saliency: NDArray[np.float32] | None = None
