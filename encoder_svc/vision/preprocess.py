"""From pixels to the patches that the tower reads, as the Qwen3-VL image processor makes them.

Resize (bicubic, Pillow), rescale by 1/255, normalise by mean and deviation 0.5, cut into patches in
merge order. Equal to the Pillow backend of the processor in `transformers` to the last bit, on
Pillow and numpy alone. It knows no file format and no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from encoder_svc.errors import CheckpointNotSupported
from encoder_svc.vision.flat import kept_cells
from fovea.checkpoint import read_json
from fovea.geometry import Geometry, Planned

CHANNELS = 3
_MEAN = _DEVIATION = 0.5

# What each of the 256 byte values becomes, rounded to float32 where the processor rounds.
_BYTE = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
_NORMALISED = (_BYTE - np.float32(_MEAN)) / np.float32(_DEVIATION)


@dataclass(frozen=True)
class Patches:
    """`values` is float32 (patches, channels * temporal * patch * patch), 1536 wide for Qwen3-VL.

    Four patches in a row (a 2x2 square of the grid) become one visual token.
    """

    values: npt.NDArray[np.float32]
    grid_thw: tuple[int, int, int]
    kept: npt.NDArray[np.int32] | None = None

    @property
    def count(self) -> int:
        return len(self.values)


def check_processor(directory: Path | str) -> None:
    """CheckpointNotSupported where the checkpoint asks for another normalisation than is done here."""
    config = read_json(directory, "preprocessor_config.json")
    expected = {"image_mean": [_MEAN] * CHANNELS, "image_std": [_DEVIATION] * CHANNELS}
    for field, value in expected.items():
        if config.get(field) != value:
            raise CheckpointNotSupported(
                f"{field} of the checkpoint's processor is {config.get(field)}; served is {value}",
                field=field,
                actual=config.get(field),
                supported=value,
            )


def patches(
    rgb: npt.NDArray[np.uint8],
    geometry: Geometry,
    max_pixels: int | None = None,
    flat_tolerance: int | None = None,
) -> Patches:
    """The patches of an image (height, width, 3), in one resize to the size that `geometry` plans."""
    planned, resized = _planned(rgb, geometry, max_pixels)
    values, kept = _patchify(resized, geometry), _kept(resized, geometry, flat_tolerance)
    if kept is not None:
        values = values.reshape(planned.tokens, -1, values.shape[1])[kept].reshape(-1, values.shape[1])
    return Patches(values, planned.grid_thw, kept)


def places(
    rgb: npt.NDArray[np.uint8], geometry: Geometry, max_pixels: int | None, flat_tolerance: int | None
) -> npt.NDArray[np.int32] | None:
    """The places of the cells that `patches` keeps; None where that is all of them."""
    return _kept(_planned(rgb, geometry, max_pixels)[1], geometry, flat_tolerance)


def _planned(
    rgb: npt.NDArray[np.uint8], geometry: Geometry, max_pixels: int | None
) -> tuple[Planned, npt.NDArray[np.uint8]]:
    planned = geometry.plan(rgb.shape[1], rgb.shape[0], max_pixels)
    return planned, _resized(rgb, planned.width, planned.height)


def _kept(
    resized: npt.NDArray[np.uint8], geometry: Geometry, tolerance: int | None
) -> npt.NDArray[np.int32] | None:
    return None if tolerance is None else kept_cells(resized, geometry.cell, tolerance)


def _resized(rgb: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    if rgb.shape[:2] == (height, width):
        return rgb
    image = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _patchify(rgb: npt.NDArray[np.uint8], geometry: Geometry) -> npt.NDArray[np.float32]:
    """Bytes are moved while they are bytes, then looked up; the temporal copies come last."""
    patch, merge = geometry.patch, geometry.merge
    rows, columns = rgb.shape[0] // geometry.cell, rgb.shape[1] // geometry.cell
    split = rgb.reshape(rows, merge, patch, columns, merge, patch, CHANNELS)
    ordered = np.ascontiguousarray(split.transpose(0, 3, 1, 4, 6, 2, 5))
    count = rows * columns * merge**2
    still = np.take(_NORMALISED, ordered.reshape(count, CHANNELS, 1, patch * patch))
    moving = np.broadcast_to(still, (count, CHANNELS, geometry.temporal, patch * patch))
    return moving.reshape(count, -1)
