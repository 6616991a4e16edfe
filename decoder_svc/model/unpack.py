"""Visual rows from bytes to the model's dtype, on the device of the bytes.

A step unpacks rows as late as possible, so that they wait and move to the device in as few bytes as they
arrived. Knows the layout of a row. Independent of requests and images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.contract.rows import RowDtype, RowLayout

TORCH_DTYPE = {RowDtype.BF16: torch.bfloat16, RowDtype.FP16: torch.float16, RowDtype.FP32: torch.float32}
"""The dtypes of values without a scale, and so of arithmetic."""

_SCALED = {RowDtype.FP8: torch.float8_e4m3fn, RowDtype.INT8: torch.int8}


def unpack(data: Tensor, layout: RowLayout, dtype: torch.dtype) -> Tensor:
    """Bytes (rows, row_bytes) as (rows, 1 + levels, width) in `dtype`."""
    values = _scaled(data, layout) if layout.scales else data.view(TORCH_DTYPE[layout.dtype])
    return values.to(dtype).view(-1, 1 + layout.levels, layout.width)


def _scaled(data: Tensor, layout: RowLayout) -> Tensor:
    """Values times their scales in fp32, because a product in the model's dtype would be rounded twice."""
    values, scales = data[:, : layout.values], data[:, layout.values :].contiguous().view(torch.float32)
    groups = values.view(_SCALED[layout.dtype]).float().view(-1, layout.scales, layout.group)
    return groups * scales[:, :, None]
