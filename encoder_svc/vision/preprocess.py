"""From pixels to the patches that the tower reads, as the Qwen3-VL image processor makes them.

Resize (bicubic, Pillow), rescale by 1/255, normalise by mean and deviation 0.5, cut into patches in merge
order; optionally drop uniform patches. Bit-exact with the Pillow backend of the processor in `transformers`,
on Pillow and numpy alone. Independent of file formats and the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from encoder_svc.images.decode import Pixels
from encoder_svc.vision.flat import kept_cells, uniform_cells
from fovea.contract.row_stream import GridIndices
from fovea.geometry import Geometry, Planned

CHANNELS = 3
_MEAN = _DEVIATION = 0.5

# The float of each byte value, rounded to float32 where the processor rounds.
_BYTE = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
_NORMALISED = (_BYTE - np.float32(_MEAN)) / np.float32(_DEVIATION)


@dataclass(frozen=True)
class Patches:
    """`values` is float32 (patches, channels * temporal * patch * patch), 1536 wide for Qwen3-VL.

    Four consecutive patches (a 2x2 cell of the grid) become a visual token. `kept` holds the raster
    indices, ascending, of the present cells; None if all are present. `uniform` tells which of them are
    uniform, if requested.
    """

    values: npt.NDArray[np.float32]
    grid_thw: tuple[int, int, int]
    kept: GridIndices | None = None
    uniform: npt.NDArray[np.bool_] | None = None

    @classmethod
    def blank(cls, geometry: Geometry) -> Patches:
        """The smallest image, a single grey cell."""
        values = CHANNELS * geometry.temporal * geometry.patch**2
        return cls(np.zeros((geometry.merge**2, values), np.float32), (1, geometry.merge, geometry.merge))

    @property
    def count(self) -> int:
        return len(self.values)

    def cells(self, merge: int) -> int:
        """Count of cells that `values` must hold. Raises ValueError for indices outside the grid."""
        _, h, w = self.grid_thw  # an image has a single frame
        whole = (h // merge) * (w // merge)
        if self.kept is None:
            return whole
        kept = self.kept.astype(np.int64)
        if not len(kept) or kept[0] < 0 or kept[-1] >= whole or (np.diff(kept) < 1).any():
            raise ValueError(f"kept cells must be ascending places in 0..{whole - 1}")
        return len(kept)


def patches(
    rgb: Pixels,
    geometry: Geometry,
    max_pixels: int | None = None,
    flat_tolerance: int | None = None,
    uniform: bool = False,
) -> Patches:
    """The patches of an image (height, width, 3), resized once to the size that `geometry` plans.

    With `flat_tolerance`, only those of the cells that `flat.kept_cells` keeps.
    """
    planned, resized = _resized(rgb, geometry, max_pixels)
    kept = None if flat_tolerance is None else kept_cells(resized, geometry.cell, flat_tolerance)
    flags = None
    if uniform:
        flags = uniform_cells(resized, geometry.cell).ravel()[slice(None) if kept is None else kept]
    return Patches(_patchify(resized, geometry, kept), planned.grid_thw, kept, flags)


def kept_indices(
    rgb: Pixels, geometry: Geometry, max_pixels: int | None, flat_tolerance: int
) -> GridIndices | None:
    """`Patches.kept` without the patches."""
    return kept_cells(_resized(rgb, geometry, max_pixels)[1], geometry.cell, flat_tolerance)


def _resized(rgb: Pixels, geometry: Geometry, max_pixels: int | None) -> tuple[Planned, Pixels]:
    height, width = rgb.shape[:2]
    planned = geometry.plan(width, height, max_pixels)
    if (planned.width, planned.height) == (width, height):
        return planned, rgb
    image = Image.fromarray(rgb).resize((planned.width, planned.height), Image.Resampling.BICUBIC)
    return planned, np.asarray(image)


def _patchify(rgb: Pixels, geometry: Geometry, kept: GridIndices | None) -> npt.NDArray[np.float32]:
    """Permutes bytes first, then maps them to floats; the temporal copies come last."""
    patch, merge = geometry.patch, geometry.merge
    rows, columns = rgb.shape[0] // geometry.cell, rgb.shape[1] // geometry.cell
    split = rgb.reshape(rows, merge, patch, columns, merge, patch, CHANNELS)
    cells = split.transpose(0, 3, 1, 4, 6, 2, 5)
    ordered = np.ascontiguousarray(cells if kept is None else cells[kept // columns, kept % columns])
    still = np.take(_NORMALISED, ordered.reshape(-1, CHANNELS, 1, patch * patch))
    moving = np.broadcast_to(still, (len(still), CHANNELS, geometry.temporal, patch * patch))
    return moving.reshape(len(still), -1)
