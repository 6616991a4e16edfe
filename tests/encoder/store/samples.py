"""Records for the store's tests. Everything about record n follows from n, so any process can check it."""

from __future__ import annotations

import hashlib

import numpy as np

from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import DIGEST_BYTES, TENANT_BYTES, RowKey, is_sidecar, tenant_id, variant
from encoder_svc.store.store import LmdbStore
from fovea.contract.rows import RowDtype, RowLayout

FIELDS: dict[str, str | int] = {"model": "tiny", "revision": 3}
LAYOUT = RowLayout(width=64, levels=3, dtype=RowDtype.BF16)
ALICE = tenant_id("alice")
BOB = tenant_id("bob")
KIB = 1024


def pixels(n: int) -> bytes:
    return hashlib.sha256(n.to_bytes(8, "big")).digest()


def row_key(n: int, tenant: bytes = ALICE) -> RowKey:
    return RowKey(tenant, pixels(n), variant(FIELDS))


def rows(n: int, size: int = 64 * KIB) -> StoredRows:
    """About `size` bytes of rows, at least a single row."""
    count = max(1, size // LAYOUT.row_bytes)
    data = np.random.default_rng(n).integers(0, 256, count * LAYOUT.row_bytes, dtype=np.uint8)
    return StoredRows(data.data, LAYOUT, (1, 2, 2 * count))


def row_keys(store: LmdbStore, tenant: bytes) -> list[RowKey]:
    """The keys of a tenant's rows that are in the store."""
    end = TENANT_BYTES + DIGEST_BYTES
    raws = [raw for raw in store._rows.keys(tenant) if not is_sidecar(raw)]
    return [RowKey(raw[:TENANT_BYTES], raw[TENANT_BYTES:end], raw[end:]) for raw in raws]


def same(stored: StoredRows | None, expected: StoredRows) -> bool:
    return stored is not None and _values(stored) == _values(expected)


def _values(rows: StoredRows) -> tuple[object, ...]:
    return rows.data, rows.layout, rows.grid_thw, rows.digest, rows.indices.tolist()
