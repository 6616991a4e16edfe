"""What a record says about its payload, as JSON in the header: rows with their fields, uploads with
their facts.

A record of rows fits a request only if it echoes the very fields that the request's variant was
made of, and its numbers agree with each other and with its length. Anything else is a Misfit, and
so a miss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encoder_svc.store.core import Facts, Rows
from encoder_svc.store.keys import Fields
from encoder_svc.store.records import Head, Misfit
from fovea.rows import RowDtype, RowLayout


@dataclass(frozen=True)
class RowsFacts:
    """Everything about stored rows but the rows."""

    layout: RowLayout
    grid_thw: tuple[int, int, int]
    digest: str

    def rows(self, data: memoryview) -> Rows:
        return Rows(data, self.layout, self.grid_thw, self.digest)


def pack_rows(fields: Fields, rows: Rows) -> bytes:
    layout = rows.layout
    return _dump(
        {
            "fields": dict(fields),
            "grid_thw": list(rows.grid_thw),
            "rows": rows.count,
            "row_bytes": layout.row_bytes,
            "dtype": layout.dtype.value,
            "width": layout.width,
            "levels": layout.levels,
            "digest": rows.digest,
        }
    )


def unpack_rows(head: Head, fields: Fields) -> RowsFacts:
    """The facts of rows that were stored for exactly these fields. Misfit otherwise."""
    facts = _load(head)
    if facts.get("fields") != dict(fields):
        raise Misfit("fields echo")
    try:
        layout = RowLayout(int(facts["width"]), int(facts["levels"]), RowDtype(facts["dtype"]))
        t, h, w = (int(side) for side in facts["grid_thw"])
        sha = str(facts["digest"])
        lengths = facts["row_bytes"], facts["rows"] * facts["row_bytes"]
    except (KeyError, TypeError, ValueError) as error:
        raise Misfit("rows facts") from error
    if lengths != (layout.row_bytes, head.length):
        raise Misfit("rows length")
    return RowsFacts(layout, (t, h, w), sha)


def pack_upload(facts: Facts) -> bytes:
    return _dump(facts)


def unpack_upload(head: Head) -> Facts:
    return _load(head)


def _dump(facts: Mapping[str, object]) -> bytes:
    return json.dumps(dict(facts), sort_keys=True, separators=(",", ":")).encode()


def _load(head: Head) -> dict[str, Any]:
    try:
        facts = json.loads(head.facts)
    except ValueError as error:
        raise Misfit("facts") from error
    if not isinstance(facts, dict):
        raise Misfit("facts")
    return facts
