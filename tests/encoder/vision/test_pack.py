"""Rows as bytes, read back by a second reader written from the text of the contract."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from encoder_svc.vision.pack import pack
from fovea.contract.rows import RowDtype, RowLayout

Floats = npt.NDArray[np.float32]


def e4m3fn() -> Floats:
    """The value of each of the 256 bytes: sign, 4 bits of exponent (bias 7), 3 bits of mantissa."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    small = mantissa / 8 * 2.0**-6
    value = np.where(exponent == 0, small, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    value[(exponent == 15) & (mantissa == 7)] = np.nan
    return (np.where(byte >> 7, -value, value)).astype(np.float32)


def read(packed: torch.Tensor, layout: RowLayout) -> Floats:
    data = packed.numpy()
    assert data.shape[1] == layout.row_bytes
    values, scales = data[:, : layout.values], data[:, layout.values :].copy().view("<f4")
    numbers = e4m3fn()[values] if layout.dtype is RowDtype.FP8 else values.view(np.int8).astype(np.float32)
    return numbers * scales.repeat(layout.values // scales.shape[1], axis=1)


def drawn(rows: int, layout: RowLayout, spread: float = 1.0) -> torch.Tensor:
    random = np.random.default_rng(7)
    return torch.from_numpy(random.normal(0, spread, (rows, layout.values)).astype(np.float32))


@pytest.mark.parametrize("spread", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize(("dtype", "relative"), [(RowDtype.FP8, 2**-4), (RowDtype.INT8, 0.5 / 127)])
def test_quantised_values_are_off_by_at_most_half_a_step(
    dtype: RowDtype, relative: float, spread: float
) -> None:
    """fp8: 3 bits of mantissa, of the value itself down to 2^-6 of its format; int8: of the group's largest."""
    layout = RowLayout(128, 3, dtype)
    rows = drawn(9, layout, spread)
    back, exact = read(pack(rows, layout), layout), rows.numpy()
    peak = np.abs(exact).reshape(9, -1, layout.group).max(axis=2).repeat(layout.group, axis=1)
    of = np.maximum(np.abs(exact), peak / 448 * 2**-6) if dtype is RowDtype.FP8 else peak
    assert (np.abs(back - exact) <= of * relative * 1.001).all()


@pytest.mark.parametrize("dtype", [RowDtype.FP8, RowDtype.INT8])
def test_zeros_have_scale_1_and_the_largest_value_is_exact(dtype: RowDtype) -> None:
    layout = RowLayout(64, 1, dtype)
    rows = torch.zeros(2, layout.values)
    rows[1, 3], rows[1, 70] = -5.5, 1e-42  # the second underflows when it is divided by the largest
    packed = pack(rows, layout)
    assert packed[0, : layout.values].sum() == 0
    assert packed[0, layout.values :].view(torch.float32).tolist() == [1.0, 1.0]
    back = read(packed, layout)
    assert back[1, 3] == pytest.approx(-5.5, rel=1e-6)
    assert np.isfinite(back).all()


def test_int8_rounds_half_to_even() -> None:
    layout = RowLayout(4, 0, RowDtype.INT8)
    packed = pack(torch.tensor([[127.0, 0.5, 1.5, -2.5]]), layout)
    assert packed[0, :4].view(torch.int8).tolist() == [127, 0, 2, -2]


def test_fp8_keeps_small_values_beside_a_huge_one_and_int8_loses_its_group_alone() -> None:
    """Why int8 has groups, and why fp8 needs none."""
    fp8, int8 = (RowLayout(128, 0, dtype) for dtype in (RowDtype.FP8, RowDtype.INT8))
    rows = drawn(4, fp8)
    rows[:, 0] = 300.0
    off = {layout: np.abs(read(pack(rows, layout), layout) - rows.numpy()) for layout in (fp8, int8)}
    assert off[fp8][:, 1:].max() < 0.25
    assert off[int8][:, 1:64].max() > 0.9
    assert off[int8][:, 64:].max() < 0.02


def test_rows_in_bf16_arithmetic_are_scaled_in_fp32() -> None:
    layout = RowLayout(64, 3, RowDtype.FP8)
    rows = drawn(5, layout).bfloat16()
    assert torch.equal(pack(rows, layout), pack(rows.float(), layout))
