"""A record of a dtype never matches another dtype: keys and fields differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_svc.core import RowIdentity
from encoder_svc.store.core import StoredRows, StoreLimits
from encoder_svc.store.keys import RowKey, tenant_id, variant
from encoder_svc.store.store import LmdbStore
from fovea.contract.rows import RowDtype, RowLayout, digest
from fovea.geometry import Geometry

GRID = (1, 4, 4)
LAYOUTS = {dtype: RowLayout(64, 3, dtype) for dtype in RowDtype}
FIELDS = {d: RowIdentity("sha256:0", value, "fp32", Geometry()).fields(GRID) for d, value in LAYOUTS.items()}
KEYS = {dtype: RowKey(tenant_id("default"), bytes(32), variant(value)) for dtype, value in FIELDS.items()}


def rows_in(dtype: RowDtype) -> StoredRows:
    data = dtype.value.encode().ljust(4 * LAYOUTS[dtype].row_bytes)
    return StoredRows(memoryview(data), LAYOUTS[dtype], GRID, digest(data))


def test_an_image_has_a_separate_record_per_dtype(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, StoreLimits(64 << 20, 64 << 20)) as store:
        for dtype in RowDtype:
            assert store.put(KEYS[dtype], FIELDS[dtype], rows_in(dtype)).stored
        for dtype in RowDtype:
            stored = store.get(KEYS[dtype], FIELDS[dtype])
            assert stored is not None
            assert (stored.layout, bytes(stored.data)) == (LAYOUTS[dtype], bytes(rows_in(dtype).data))


@pytest.mark.parametrize("held", list(RowDtype))
def test_a_record_is_a_miss_for_every_other_dtype(tmp_path: Path, held: RowDtype) -> None:
    with LmdbStore(tmp_path, StoreLimits(64 << 20, 64 << 20)) as store:
        assert store.put(KEYS[held], FIELDS[held], rows_in(held)).stored
        for other in set(RowDtype) - {held}:
            assert store.get(KEYS[other], FIELDS[other]) is None
            assert store.get(KEYS[held], FIELDS[held]) is not None
            with pytest.raises(ValueError, match="variant"):
                store.put(KEYS[other], FIELDS[held], rows_in(held))
