"""The store of the encoder service: rows by key and fields, uploads by id, their sidecars, all by tenant, and
their counts.

Calls block and may come from any thread, but not from an event loop. A get returns a checked copy, which the
caller owns, or a miss; a put may be skipped. Independent of protobuf and of the meaning of rows.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import structlog

from encoder_svc.store.amounts import Amount
from encoder_svc.store.core import (
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
    upload_sidecar,
    variant,
)
from encoder_svc.store.maintenance import Maintenance, Upkeep
from encoder_svc.store.record_store import RecordStore
from fovea.contract.cache import Erasure
from fovea.contract.errors import StoreFailed

_log = structlog.get_logger(__name__)


class LmdbStore:
    """The store in a directory, for a single process.

    Opening raises StoreInUse if another store holds the directory, StoreFailed if the disk refuses; an
    unusable environment is quarantined and the store starts empty. After `close` every call raises
    StoreClosed, in a forked child StoreForked.
    """

    def __init__(self, directory: Path, limits: StoreLimits, upkeep: Upkeep | None = None) -> None:
        self.limits = limits
        try:
            self._open(directory)
        except OSError as error:
            raise StoreFailed(
                f"the disk refuses the store at {error.filename or directory}: {error.strerror}",
                directory=directory,
            ) from error
        self._closing = threading.Event()
        self._maintenance = Maintenance(self._env, self.flush, upkeep or Upkeep(), self._closing)
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

    def get_upload_sidecar(self, key: UploadKey, name: str, fields: Fields) -> memoryview | None:
        """The sidecar `name` of an upload, which may be gone. Checked like rows."""
        result = self._uploads.read(
            upload_sidecar(key, name, fields), lambda head: check_fields(head, fields)
        )
        return None if result is None else result[1]

    def put_upload_sidecar(self, key: UploadKey, name: str, fields: Fields, data: bytes) -> Put:
        """Store something small beside an upload. It is bounded, evicted and deleted like uploads, but not
        counted as a record.
        """
        return self._uploads.write(upload_sidecar(key, name, fields), pack({"fields": dict(fields)}), data)

    def delete_upload_sidecars(self, key: UploadKey, name: str) -> Amount:
        """Delete the sidecars `name` of an upload, of every variant."""
        return self._uploads.remove(key.raw + name.encode())

    def delete_upload(self, key: UploadKey) -> Amount:
        """Delete an upload and its sidecars."""
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

    def erase(self) -> Erasure:
        """What becomes of the bytes of removed records: deleted, evicted or replaced. A compaction follows if
        the file may still hold some. A quarantined environment is deleted now.
        """
        self._directory.forget_set_aside()
        if not self._env.holds_old_bytes:
            return Erasure.ERASED
        self._env.erasure.request()
        return Erasure.AFTER_COMPACTION

    @property
    def erasure_due(self) -> bool:
        """Whether deleted bytes wait for a compaction."""
        return self._env.erasure.due

    def upload_facts(self, tenant: bytes) -> list[Facts]:
        """The facts of every upload of a tenant. No hits and no uses."""
        keys = (raw for raw in self._uploads.keys(_prefix(tenant)) if not is_sidecar(raw))
        facts = (self._uploads.look(raw, unpack) for raw in keys)
        return [known for known in facts if known is not None]

    def stats(self) -> StoreStats:
        rows, uploads = self._rows.stats(), self._uploads.stats()
        tenants = {
            tenant: TenantStats(rows.get(tenant, PartitionStats()), uploads.get(tenant, PartitionStats()))
            for tenant in rows.keys() | uploads.keys()
        }
        return StoreStats(tenants, self.limits, self._env.file_bytes, self._env.quarantined)

    def total(self) -> TenantStats:
        """The sums of all tenants, in constant time."""
        return TenantStats(self._rows.total(), self._uploads.total())

    def flush(self) -> None:
        """Write the last uses noted by gets since the last put or flush."""
        self._rows.flush()
        self._uploads.flush()

    def record_crash(self) -> None:
        """From now on a signal that kills this process leaves its stack in the directory.

        The next opening reads it and quarantines the environment if the store's code was running. So an
        unreadable page that the check at opening missed does not kill a second process.
        """
        try:
            self._directory.crash.watch()
        except OSError as error:
            _log.warning("crashes_not_recorded", error=error.strerror)

    def close(self) -> None:
        """Flush, wait for running calls, and release the directory. Idempotent."""
        self._env.check_process()
        if self._closing.is_set():
            return
        self._closing.set()
        self._env.stop_checks()
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
            bounds = {"rows": self.limits.rows, "uploads": self.limits.uploads}
            self._env = Environment(self._directory, self.limits.map_bytes, bounds)
            undo.callback(self._env.close)
            self._rows, self._uploads = RecordStore(self._env, "rows"), RecordStore(self._env, "uploads")
            self._rows.shrink()
            self._uploads.shrink()
            undo.pop_all()


def _check(key: RowKey, fields: Fields) -> None:
    if variant(fields) != key.variant:
        raise ValueError("these fields do not make the variant in the key")


def _prefix(tenant: bytes, pixels: bytes | None = None) -> bytes:
    """A key prefix. ValueError for a short part, which would also match other tenants."""
    if len(tenant) != TENANT_BYTES or (pixels is not None and len(pixels) != DIGEST_BYTES):
        raise ValueError(f"a tenant has {TENANT_BYTES} bytes and a pixel digest {DIGEST_BYTES}")
    return tenant + (pixels or b"")
