"""The store of the encoder service: rows by key and fields, their sidecars, uploads by id, all by tenant, and
their counts.

Calls block and may come from any thread, but not from an event loop. A get returns a checked copy, which the
caller owns, or a miss; a put may be skipped. Independent of protobuf and of the meaning of rows.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path

from encoder_svc.store.core import (
    Amount,
    Facts,
    PartitionStats,
    Put,
    StoredRows,
    StoredUpload,
    StoreLimits,
    StoreStats,
    TenantStats,
)
from encoder_svc.store.directory import StoreDirectory
from encoder_svc.store.environment import Environment
from encoder_svc.store.facts import RowsFacts, check_fields, pack, pack_rows, unpack, unpack_rows
from encoder_svc.store.keys import (
    DIGEST_BYTES,
    TENANT_BYTES,
    Fields,
    RowKey,
    UploadKey,
    is_sidecar,
    sidecar,
    variant,
)
from encoder_svc.store.record_store import RecordStore
from fovea.contract.errors import StoreFailed

# Last uses are noted in memory and written this often, or with the next put, so that a hit costs no commit.
_FLUSH_SECONDS = 5.0
_READER_CHECK_SECONDS = 60.0


class LmdbStore:
    """The store in a directory, for a single process.

    Opening raises StoreInUse if another store holds the directory, StoreFailed if the disk refuses; an
    unusable environment is quarantined and the store starts empty. After `close` every call raises
    StoreClosed, in a forked child StoreForked.
    """

    def __init__(self, directory: Path, limits: StoreLimits) -> None:
        self.limits = limits
        try:
            self._open(directory)
        except OSError as error:
            raise StoreFailed(
                f"the disk refuses the store at {error.filename or directory}: {error.strerror}",
                directory=directory,
            ) from error
        self._closing = threading.Event()
        self._maintenance = threading.Thread(target=self._maintain, name="store-tend", daemon=True)
        self._maintenance.start()

    def get(self, key: RowKey, fields: Fields) -> StoredRows | None:
        """The rows of `key`, if the record echoes `fields` and passes every check."""
        result = self._rows.read(key.raw, lambda head: unpack_rows(head, fields))
        return None if result is None else result[0].rows(result[1])

    def note_use(self, key: RowKey) -> None:
        """Rows of this key were served without a get: count a hit and a use, in memory, without waiting."""
        self._rows.note_use(key.raw)

    def put(self, key: RowKey, fields: Fields, rows: StoredRows) -> Put:
        """Store a copy of `rows`. ValueError if `fields` do not hash to the key's variant."""
        _check(key, fields)
        return self._rows.write(key.raw, pack_rows(fields, rows), rows.data)

    def facts(self, key: RowKey, fields: Fields) -> RowsFacts | None:
        """The facts of the rows of `key`, without reading them. No hit, no miss, no use."""
        return self._rows.look(key.raw, lambda head: unpack_rows(head, fields))

    def get_sidecar(self, key: RowKey, name: str, fields: Fields) -> memoryview | None:
        """The sidecar `name` of the rows of `key`, which may be gone. Checked like rows."""
        result = self._rows.read(sidecar(key, name), lambda head: check_fields(head, fields))
        return None if result is None else result[1]

    def put_sidecar(self, key: RowKey, name: str, fields: Fields, data: bytes) -> Put:
        """Store something small beside the rows of `key`. It is bounded, evicted and deleted like rows, but
        not counted as a record. ValueError if `fields` do not hash to the key's variant.
        """
        _check(key, fields)
        return self._rows.write(sidecar(key, name), pack({"fields": dict(fields)}), data)

    def get_upload(self, key: UploadKey) -> StoredUpload | None:
        result = self._uploads.read(key.raw, unpack)
        return None if result is None else StoredUpload(data=result[1], facts=result[0])

    def put_upload(self, key: UploadKey, data: bytes | memoryview, facts: Facts) -> Put:
        """Store a copy of an image's bytes with its facts, including its pixel digest."""
        return self._uploads.write(key.raw, pack(facts), data)

    def describe(self, key: UploadKey) -> Facts | None:
        """The facts of an upload. Counts as a use, because the caller is about to refer to it."""
        return self._uploads.peek(key.raw, unpack)

    def delete_upload(self, key: UploadKey) -> Amount:
        return self._uploads.remove(key.raw)

    def delete_rows(self, tenant: bytes, pixels: bytes) -> Amount:
        """Delete the rows of an image under every plan, with their sidecars."""
        return self._rows.remove(_prefix(tenant, pixels))

    def delete_tenant(self, tenant: bytes) -> Amount:
        """Delete rows and uploads of a tenant."""
        return self._rows.remove(_prefix(tenant)) + self._uploads.remove(_prefix(tenant))

    def delete_uploads(self, tenant: bytes) -> Amount:
        """Delete the uploads of a tenant."""
        return self._uploads.remove(_prefix(tenant))

    def row_keys(self, tenant: bytes) -> list[RowKey]:
        return [RowKey.parse(raw) for raw in self._rows.keys(_prefix(tenant)) if not is_sidecar(raw)]

    def upload_facts(self, tenant: bytes) -> list[Facts]:
        """The facts of every upload of a tenant. No hits and no uses."""
        facts = (self._uploads.look(raw, unpack) for raw in self._uploads.keys(_prefix(tenant)))
        return [known for known in facts if known is not None]

    def stats(self) -> StoreStats:
        rows, uploads = self._rows.stats(), self._uploads.stats()
        tenants = {
            tenant: TenantStats(rows.get(tenant, PartitionStats()), uploads.get(tenant, PartitionStats()))
            for tenant in rows.keys() | uploads.keys()
        }
        return StoreStats(tenants, self.limits, self._env.file_bytes, self._env.quarantined)

    def flush(self) -> None:
        """Write the last uses noted by gets since the last put or flush."""
        self._rows.flush()
        self._uploads.flush()

    def record_crash(self) -> None:
        """From now on a signal that kills this process leaves its stack in the directory.

        The next opening reads it and quarantines the environment if the store's code was running. So an
        unreadable page that the check at opening missed does not kill a second process.
        """
        self._directory.crash.watch()

    def close(self) -> None:
        """Flush, wait for running calls, and release the directory. Idempotent."""
        self._env.check_process()
        if self._closing.is_set():
            return
        self._closing.set()
        self._maintenance.join()
        self.flush()
        self._env.close()
        self._directory.crash.clear()
        self._directory.release()

    def __enter__(self) -> LmdbStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self, directory: Path) -> None:
        with ExitStack() as undo:
            self._directory = StoreDirectory(directory)
            undo.callback(self._directory.release)
            bounds = {"rows": self.limits.rows_bound, "uploads": self.limits.uploads_bound}
            self._env = Environment(self._directory, self.limits.map_bytes, bounds)
            undo.callback(self._env.close)
            self._rows, self._uploads = RecordStore(self._env, "rows"), RecordStore(self._env, "uploads")
            self._rows.shrink()
            self._uploads.shrink()
            undo.pop_all()

    def _maintain(self) -> None:
        checked = time.monotonic()
        while not self._closing.wait(_FLUSH_SECONDS):
            self.flush()
            if time.monotonic() - checked >= _READER_CHECK_SECONDS:
                self._env.check_readers()
                checked = time.monotonic()


def _check(key: RowKey, fields: Fields) -> None:
    if variant(fields) != key.variant:
        raise ValueError("these fields do not make the variant in the key")


def _prefix(tenant: bytes, pixels: bytes | None = None) -> bytes:
    """A key prefix. ValueError for a short part, which would also match other tenants."""
    if len(tenant) != TENANT_BYTES or (pixels is not None and len(pixels) != DIGEST_BYTES):
        raise ValueError(f"a tenant has {TENANT_BYTES} bytes and a pixel digest {DIGEST_BYTES}")
    return tenant + (pixels or b"")
