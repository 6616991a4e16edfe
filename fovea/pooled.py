"""The pooled level of rows as float32, for any row dtype; the input of rankers.

Reads the layouts of `fovea.vision.v1.RowDtype` by name. Deepstack levels are not read: a row is one token and
is kept or dropped with all its levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fovea.contract.rows import RowLayout

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
_GROUP = 64


def pooled(data: memoryview, layout: RowLayout) -> Floats:
    """(rows, width) of the pooled level, float32."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, layout.row_bytes)
    return _READ[layout.dtype.value](rows, layout)


def _bf16(rows: Bytes, layout: RowLayout) -> Floats:
    halves = _values(rows, layout.width, "<u2").astype(np.uint32)
    return (halves << 16).view(np.float32)


def _fp16(rows: Bytes, layout: RowLayout) -> Floats:
    return _values(rows, layout.width, "<f2").astype(np.float32)


def _fp32(rows: Bytes, layout: RowLayout) -> Floats:
    return _values(rows, layout.width, "<f4").astype(np.float32)


def _fp8(rows: Bytes, layout: RowLayout) -> Floats:
    scales = _values(rows[:, layout.values :], 1, "<f4")
    return np.asarray(E4M3[rows[:, : layout.width]] * scales, np.float32)


def _int8(rows: Bytes, layout: RowLayout) -> Floats:
    group = min(_GROUP, layout.width)
    scales = _values(rows[:, layout.values :], layout.width // group, "<f4")
    return np.asarray(rows[:, : layout.width].view(np.int8) * np.repeat(scales, group, axis=1), np.float32)


def _values(rows: Bytes, count: int, dtype: str) -> npt.NDArray[Any]:
    """The first `count` values of each row."""
    prefix = np.ascontiguousarray(rows[:, : count * np.dtype(dtype).itemsize])
    return prefix.view(dtype)


def _e4m3() -> Floats:
    """The value of each float8 e4m3fn byte: no infinity, NaN at 0x7F and 0xFF."""
    code = np.arange(256)
    exponent, fraction = code >> 3 & 15, code & 7
    small, normal = fraction / 8 * 2.0**-6, (1 + fraction / 8) * 2.0 ** (exponent - 7.0)
    size = np.where(exponent == 0, small, normal)
    size[code & 0x7F == 0x7F] = np.nan
    return np.where(code < 128, size, -size).astype(np.float32)


E4M3 = _e4m3()
_READ: Mapping[str, Callable[[Bytes, RowLayout], Floats]] = {
    "bf16": _bf16,
    "fp16": _fp16,
    "fp32": _fp32,
    "fp8": _fp8,
    "int8": _int8,
}
