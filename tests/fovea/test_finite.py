"""Bit checks of packed rows agree with torch after unpacking and casting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoder_svc.model.unpack import TORCH_DTYPE, unpack
from fovea.contract.errors import RowsNotFinite
from fovea.contract.rows import RowDtype, RowLayout
from fovea.finite import first_not_finite

COUNT, WIDTH = 5, 64
FLOATS = (RowDtype.FP32, RowDtype.BF16, RowDtype.FP16)
# Around what each float can hold, by the bits of float32: the last that fits, the first that does not, infinity, NaN.
EDGES = (0x477FE000, 0x477FEFFF, 0x477FF000, 0x47800000, 0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0x7F800000,
         0x7F800001, 0x7FC00000)  # fmt: skip


def expected(data: np.ndarray, layout: RowLayout, into: RowDtype) -> int | None:
    values = unpack(torch.from_numpy(data.copy()), layout, TORCH_DTYPE[into])
    bad = (~values.isfinite()).flatten(1).any(1)
    return int(bad.int().argmax()) if bad.any() else None


def quiet(layout: RowLayout) -> np.ndarray:
    """Rows of small values."""
    data = np.zeros((COUNT, layout.row_bytes), np.uint8)
    data[:, layout.values :] = 0
    if layout.scales:
        data[:, layout.values :].view(np.float32)[:] = 1.0
    return data


def cast(bits: int, dtype: RowDtype) -> bytes:
    value = torch.tensor([bits], dtype=torch.int64).to(torch.int32).view(torch.float32).to(TORCH_DTYPE[dtype])
    return value.view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("into", FLOATS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sign", [0, 0x80000000])
def test_a_float_is_judged_after_the_cast(dtype: RowDtype, into: RowDtype, sign: int) -> None:
    layout = RowLayout(WIDTH, 1, dtype)
    results = set()
    for bits in EDGES:
        data = quiet(layout)
        written = np.frombuffer(cast(bits | sign, dtype), np.uint8)
        data[3, 10 * dtype.itemsize : 11 * dtype.itemsize] = written
        actual = first_not_finite(data, layout, into)
        assert actual == expected(data, layout, into), hex(bits)
        results.add(actual)
    assert results >= {3}


@pytest.mark.parametrize("into", FLOATS)
@pytest.mark.parametrize("dtype", [RowDtype.FP8, RowDtype.INT8])
@pytest.mark.parametrize(
    "scale", [0.0, 1.0, -1.0, 146.0, 147.0, 511.0, 520.0, 2.6e36, 7.6e35, 3e38, np.inf, -np.inf, np.nan]
)
@pytest.mark.parametrize("code", [0, 1, 0x77, 0x7E, 0x7F, 0x80, 0xFE, 0xFF])
def test_a_scale_counts_with_its_values(dtype: RowDtype, into: RowDtype, scale: float, code: int) -> None:
    """Including values at the dtype's maximum, zero, and float8's NaN, with the scale of another group."""
    layout = RowLayout(2 * WIDTH, 1, dtype)
    for group in (0, layout.scales - 1):
        data = quiet(layout)
        data[2, 5] = code
        data[2, layout.values :].view(np.float32)[group] = scale
        assert first_not_finite(data, layout, into) == expected(data, layout, into)


@pytest.mark.parametrize("dtype", list(RowDtype))
def test_random_rows_are_checked_like_torch(dtype: RowDtype) -> None:
    layout = RowLayout(WIDTH, 2, dtype)
    random = np.random.default_rng(1)
    for _ in range(50):
        data = quiet(layout)
        row = int(random.integers(COUNT))
        data[row] = random.integers(0, 256, layout.row_bytes, np.uint8)
        for into in FLOATS:
            assert first_not_finite(data, layout, into) == expected(data, layout, into)


def test_no_rows_are_finite() -> None:
    layout = RowLayout(WIDTH, 0, RowDtype.BF16)
    assert first_not_finite(np.empty((0, layout.row_bytes), np.uint8), layout) is None


def test_the_error_names_row_and_dtype() -> None:
    error = RowsNotFinite("an image", 7, RowDtype.FP16.value)
    assert str(error) == "an image: row 7 holds a value that is not finite in fp16"
    assert error.metadata == {"row": "7", "dtype": "fp16"}
