"""Rows that are not finite leave no encoder: not from the tower, not from the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_svc.store.core import StoredRows
from fovea.contract.plan import EncodePlan
from tests.encoder.parts import LAYOUT, running
from tests.encoder.test_choices import page

PLAN = EncodePlan(65_536)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_stored_rows_that_are_not_finite_are_computed_anew(tmp_path: Path, value: float) -> None:
    """As a version that did not look could have stored them."""
    async with running(tmp_path / "store") as parts:
        image = (await parts.encoder.uploads.keep(page())).facts.digest
        good = await parts.encoder.encode(image, PLAN, "")
        await parts.encoder.written()
        job = await parts.encoder.create_job(image, PLAN, "")
        bad = np.frombuffer(good.rows.data, np.float32).copy()
        bad[LAYOUT.values + 3] = value
        rows = StoredRows(
            memoryview(bad).cast("B"), LAYOUT, good.rows.grid_thw, good.rows.digest, good.rows.kept
        )
        assert parts.store.put(job.key, job.fields, rows).stored
        again = await parts.encoder.encode(image, PLAN, "")
        await parts.encoder.written()
        assert (again.origin, bytes(again.rows.data)) == ("encoded", bytes(good.rows.data))
        assert (await parts.encoder.encode(image, PLAN, "")).origin == "rows"
        assert parts.tower.computed == [1, 1]
