"""Checks packed rows for NaN and infinity by their bits, in a few passes and without torch.

"Finite" means finite after the cast to the compute dtype: 1e5 is finite in bf16 and infinite in fp16. Scales
are checked too. Depends on the layout of rows only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fovea.contract.rows import RowDtype, RowLayout
from fovea.pooled import E4M3

Bytes = NDArray[np.uint8]

# The smallest magnitude that rounds to infinity, by the bits of its float32.
_CEILING = {
    RowDtype.FP16: 0x477FF000,  # 65520
    RowDtype.BF16: 0x7F7F8000,  # 2^128 - 2^119
    RowDtype.FP32: 0x7F800000,  # infinity itself
}
_FP16_INFINITY = 0x7C00
_INT8_PEAK = 128


def first_not_finite(rows: Bytes, layout: RowLayout, into: RowDtype | None = None) -> int | None:
    """Index of the first of `rows` (rows, row_bytes) with a non-finite value, or None.

    Values are checked after a cast to `into`; by default in the dtype of the layout, fp32 for scaled values.
    """
    if not rows.size:
        return None
    bad = _scaled(rows, layout, into) if layout.scales else _plain(rows, layout.dtype, into)
    return None if bad is None else int(bad.argmax())


def _plain(rows: Bytes, dtype: RowDtype, into: RowDtype | None) -> NDArray[np.bool_] | None:
    """A mask of non-finite rows, or None. Magnitudes order as their bits do, with NaN above infinity."""
    bits: NDArray[Any] = rows.view(np.uint32 if dtype.itemsize == 4 else np.uint16)
    magnitudes = bits & (0x7FFFFFFF if dtype.itemsize == 4 else 0x7FFF)
    limit = _limit(dtype, into or dtype)
    if magnitudes.max() < limit:
        return None
    return np.asarray((magnitudes >= limit).any(1))


def _limit(dtype: RowDtype, into: RowDtype) -> int:
    """The lowest magnitude bits of `dtype` that are infinite in `into`."""
    if dtype is RowDtype.FP16:
        return _FP16_INFINITY
    if dtype is RowDtype.BF16:
        return (_CEILING[into] + 0xFFFF) >> 16  # the upper half of a float32, rounded up
    return _CEILING[into]


def _scaled(rows: Bytes, layout: RowLayout, into: RowDtype | None) -> NDArray[np.bool_] | None:
    """A mask of non-finite rows, or None. A value times its scale is a float32, which is then cast."""
    codes = rows[:, : layout.values]
    scales = np.abs(np.ascontiguousarray(rows[:, layout.values :]).view(np.float32))
    ceiling = np.array(_CEILING[into or RowDtype.FP32], np.uint32).view(np.float32)
    if layout.dtype is RowDtype.INT8:
        most: Any = np.float32(_INT8_PEAK)
    else:
        magnitudes = codes & np.uint8(0x7F)
        most = np.float32(np.nan) if magnitudes.max() == 0x7F else E4M3[0x7E]
    with np.errstate(over="ignore", invalid="ignore"):
        if np.all(most * scales < ceiling):  # false for NaN
            return None
        peaks = _peaks(codes, layout).reshape(scales.shape)
        bad = np.asarray((~(peaks * scales < ceiling)).any(1))
    return bad if bad.any() else None


def _peaks(codes: Bytes, layout: RowLayout) -> NDArray[np.float32]:
    """The largest magnitude per scale; NaN if a float8 value is NaN."""
    groups = codes.reshape(-1, layout.group)
    if layout.dtype is RowDtype.INT8:
        return np.asarray(np.abs(groups.view(np.int8).astype(np.float32)).max(1))
    return np.asarray(E4M3[(groups & np.uint8(0x7F)).max(1)])
