"""Rows that are not finite never leave the store: no current record can hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fovea.contract.plan import EncodePlan
from tests.encoder.parts import LAYOUT, TENANT, running
from tests.encoder.test_choices import page

PLAN = EncodePlan(65_536)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_rows_of_an_older_revision_are_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Revision 3 could store rows that are not finite; a read does not check them."""
    async with running(tmp_path / "store") as parts:
        image = (await parts.keep(TENANT, page())).facts.digest
        with monkeypatch.context() as older:
            older.setattr("encoder_svc.core.ROWS_REVISION", 3)
            good = await parts.encoder.encode(TENANT, image, PLAN, "")
            await parts.encoder.written()
            job = await parts.encoder.jobs.build(TENANT, image, PLAN, "")
        bad = np.frombuffer(good.rows.data, np.float32).copy()
        bad[LAYOUT.values + 3] = value
        rows = replace(good.rows, data=memoryview(bad).cast("B"))
        assert parts.store.put(job.key, job.fields, rows).stored
        again = await parts.encoder.encode(TENANT, image, PLAN, "")
        await parts.encoder.written()
        assert (again.origin, bytes(again.rows.data)) == ("encoded", bytes(good.rows.data))
        assert (await parts.encoder.encode(TENANT, image, PLAN, "")).origin == "rows"
        assert parts.tower.computed == [1, 1]
