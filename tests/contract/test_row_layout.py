"""The layout of a row in every dtype: size in bytes, wire form, and what is refused."""

from __future__ import annotations

import pytest

from fovea.contract.rows import (
    RowDtype,
    RowGroupsUneven,
    RowLayout,
    dtype_from_proto,
    dtype_to_proto,
    layout_from_proto,
    layout_to_proto,
)
from fovea.vision.v1 import rows_pb2

WIDE = {"bf16": 16384, "fp16": 16384, "fp32": 32768, "fp8": 8192 + 4 * 4, "int8": 8192 + 4 * 128}


@pytest.mark.parametrize(("name", "row_bytes"), WIDE.items())
def test_a_row_of_30b_takes_the_bytes_of_its_values_and_scales(name: str, row_bytes: int) -> None:
    layout = RowLayout(2048, 3, RowDtype(name))
    assert layout.row_bytes == row_bytes
    message = layout_to_proto(layout)
    assert message.row_bytes == row_bytes
    assert layout_from_proto(message) == layout
    assert dtype_from_proto(dtype_to_proto(name)) == name


def test_every_dtype_has_its_figures() -> None:
    assert set(WIDE) == {dtype.value for dtype in RowDtype}


def test_a_level_narrower_than_a_group_has_a_single_scale() -> None:
    assert RowLayout(48, 2, RowDtype.INT8).row_bytes == 3 * (48 + 4)


def test_a_width_not_divisible_by_the_group_size_is_refused() -> None:
    with pytest.raises(RowGroupsUneven) as refused:
        RowLayout(96, 3, RowDtype.INT8)
    assert refused.value.metadata == {"limit": "64", "actual": "96"}
    uneven = rows_pb2.RowLayout(version=1, width=96, levels=3, dtype=rows_pb2.ROW_DTYPE_INT8, row_bytes=400)
    assert layout_from_proto(uneven) is None


def test_bytes_without_the_scales_are_no_layout() -> None:
    message = layout_to_proto(RowLayout(64, 3, RowDtype.FP8))
    message.row_bytes -= 16
    assert layout_from_proto(message) is None
