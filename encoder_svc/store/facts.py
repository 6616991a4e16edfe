"""Facts of a record, as JSON in its header: fields of rows and sidecars, facts of uploads.

A record of rows matches a request only if it echoes exactly the fields of the request's variant, and its
numbers agree with each other and with its length. Anything else raises RecordInvalid, and so is a miss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import Fields
from encoder_svc.store.records import Head, RecordInvalid
from fovea.contract.row_stream import GridIndices
from fovea.contract.rows import RowDtype, RowLayout


@dataclass(frozen=True, eq=False)
class RowsFacts:
    """Everything about stored rows except the rows."""

    layout: RowLayout
    grid_thw: tuple[int, int, int]
    digest: str
    kept: GridIndices | None

    def rows(self, data: memoryview) -> StoredRows:
        return StoredRows(data, self.layout, self.grid_thw, self.digest, self.kept)


def pack_rows(fields: Fields, rows: StoredRows) -> bytes:
    layout = rows.layout
    kept = {} if rows.kept is None else {"kept": pack_indices(rows.kept)}
    return pack(
        {
            **kept,
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
    """The facts of rows that were stored for exactly these fields. Raises RecordInvalid otherwise."""
    facts = check_fields(head, fields)
    try:
        layout = RowLayout(int(facts["width"]), int(facts["levels"]), RowDtype(facts["dtype"]))
        t, h, w = (int(side) for side in facts["grid_thw"])
        sha = str(facts["digest"])
        lengths = facts["row_bytes"], facts["rows"] * facts["row_bytes"]
        kept = unpack_indices(facts["kept"]) if "kept" in facts else None
    except (KeyError, TypeError, ValueError) as error:
        raise RecordInvalid("rows facts") from error
    if lengths != (layout.row_bytes, head.length):
        raise RecordInvalid("rows length")
    if kept is not None and len(kept) != facts["rows"]:
        raise RecordInvalid("rows kept")
    return RowsFacts(layout, (t, h, w), sha, kept)


def pack_indices(indices: GridIndices) -> str:
    """A bit per index, the first index in the lowest bit, as hex: 320 digits for 1,280 indices."""
    bits = np.zeros(indices[-1] + 1, bool)
    bits[indices] = True
    return np.packbits(bits, bitorder="little").tobytes().hex()


def unpack_indices(mask: str) -> GridIndices:
    """Ascending. Raises ValueError if the text is not hex."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(mask), np.uint8), bitorder="little")
    return np.flatnonzero(bits).astype(np.int32)


def pack(facts: Mapping[str, object]) -> bytes:
    return json.dumps(dict(facts), sort_keys=True, separators=(",", ":")).encode()


def unpack(head: Head) -> dict[str, Any]:
    """The facts of a record. Raises RecordInvalid if they are not a JSON object."""
    try:
        facts = json.loads(head.facts)
    except ValueError as error:
        raise RecordInvalid("facts") from error
    if not isinstance(facts, dict):
        raise RecordInvalid("facts")
    return facts


def check_fields(head: Head, fields: Fields) -> dict[str, Any]:
    """The facts of a record. Raises RecordInvalid unless it was stored for exactly these fields."""
    facts = unpack(head)
    if facts.get("fields") != dict(fields):
        raise RecordInvalid("fields echo")
    return facts
