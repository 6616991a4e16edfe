"""What the tower gives for one image. Knows no torch, so that the batcher can hand it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TowerOutput:
    """`rows` as bytes of a layout, one a present cell in raster order.

    `saliency` has one float32 a row: the attention that its four patches get in the last block, summed over
    all queries, mean over heads. It sums to the number of patches. None where it was not asked for.
    """

    rows: bytes
    saliency: NDArray[np.float32] | None = None
