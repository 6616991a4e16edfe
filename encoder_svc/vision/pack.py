"""Packs the tower's floats into rows of a `fovea.contract.rows` layout, on their device.

Without a scale a value is rounded to its dtype. With scales, the largest value of a group maps to the dtype's
largest value. A group is a level in float8, whose relative precision tolerates an outlier among many values,
and 64 values in int8, whose absolute precision does not. Independent of images and the tower.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.contract.rows import RowDtype, RowLayout

TORCH_DTYPES = {
    RowDtype.BF16: torch.bfloat16,
    RowDtype.FP16: torch.float16,
    RowDtype.FP32: torch.float32,
}
"""Dtypes of unscaled values, and so of arithmetic."""

_LARGEST = {RowDtype.FP8: torch.finfo(torch.float8_e4m3fn).max, RowDtype.INT8: 127.0}


def pack(rows: Tensor, layout: RowLayout) -> Tensor:
    """(rows, values) as bytes (rows, row_bytes). A value that is not finite stays detectable: in its own
    place, or in its scale if integers cannot hold it.
    """
    if not layout.scales:
        return rows.to(TORCH_DTYPES[layout.dtype]).contiguous().view(torch.uint8)
    groups = rows.float().reshape(len(rows), layout.scales, layout.group)
    scales = _scales(groups, _LARGEST[layout.dtype])
    values = _rounded(groups / scales[:, :, None], layout.dtype).reshape(len(rows), layout.values)
    return torch.cat([values.view(torch.uint8), scales.view(torch.uint8)], dim=1)


def _scales(groups: Tensor, largest: float) -> Tensor:
    """A scale per group, never 0: a group of zeros has scale 1. Not finite if a value of the group is not."""
    peaks = groups.abs().amax(dim=2)
    scales = (peaks / largest).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(peaks == 0, torch.ones_like(scales), scales)


def _rounded(values: Tensor, dtype: RowDtype) -> Tensor:
    """Round to nearest, ties to even. Clamped, because the division may slightly exceed the largest value."""
    largest = _LARGEST[dtype]
    values = values.clamp(-largest, largest)
    return values.to(torch.float8_e4m3fn) if dtype is RowDtype.FP8 else values.round().to(torch.int8)
