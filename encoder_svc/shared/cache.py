"""The second level on Valkey or Redis: checked reads, writes behind, deletions.

Records have the format of those on disk (`store/records`): header with the key, the facts and an XXH3 of each
piece. What fails a check is deleted and counts as a miss. A server that is slow, dead, full or of another
mind costs hits, never a call. Only a deletion that a server does not confirm raises.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import structlog
from valkey.exceptions import OutOfMemoryError, ValkeyError

from encoder_svc.errors import SharedCacheNotCleared
from encoder_svc.permits import WritePermit, WritePermits
from encoder_svc.shared.keys import Kind, RecordAddress, address, image_key, image_of, tenant_pattern
from encoder_svc.shared.known import RecentKeys
from encoder_svc.shared.level import SecondLevel, SharedLimits, SharedStats
from encoder_svc.shared.node import CacheNode, Command, Execute, NodeDown
from encoder_svc.shared.servers import Servers
from encoder_svc.shared.writer import QueuedRecord, SharedWriter
from encoder_svc.store.core import Facts, StoredRows
from encoder_svc.store.facts import RowsFacts, check_fields, pack, pack_rows, unpack, unpack_rows
from encoder_svc.store.keys import Fields, RowKey, UploadKey, is_sidecar, sidecar
from encoder_svc.store.records import Head, Record, RecordInvalid
from encoder_svc.tenant import Tenant
from fovea.contract.ids import is_digest
from fovea.logs import Repeats

T = TypeVar("T")
Decode = Callable[[Head], T]
log = structlog.get_logger()

MAX_IMAGE_FIELDS = 128
"""Most fields of an image, two for a record. An image with more loses all of them: each size is a record, and
the server evicts whole images.
"""
MAX_KNOWN = 16_384
"""Keys of records that are known to be there; others are offered when the encoder's own store has them."""
KNOWN_S = 600.0
"""How long: the server evicts records, or may have restarted meanwhile."""
DELETED_S = 7 * 86_400
"""How long the pixel digest of a deleted image is kept."""
SCAN_COUNT = 1000
_IN_THREAD_BYTES = 64 * 1024
"""Smaller records are checked in the event loop: that takes microseconds."""
_NOTHING = memoryview(b"")
_PIXELS = b"pixels"
"""The field of a deleted image."""


class SharedCache(SecondLevel):
    """Confined to an event loop."""

    def __init__(self, servers: Servers, limits: SharedLimits, permits: WritePermits) -> None:
        self._servers = servers
        self._limits = limits
        self._permits = permits
        self._writer = SharedWriter(self._store, permits, limits.queue_bytes)
        self._events: Counter[tuple[str, str]] = Counter()
        self._known = RecentKeys(MAX_KNOWN, KNOWN_S)
        self._warnings = Repeats()

    async def start(self) -> None:
        await self._servers.start()
        for node in self._servers.nodes:
            await self._check_policy(node)
        self._writer.start()

    async def close(self) -> None:
        await self._writer.close()
        await self._servers.close()

    async def written(self) -> None:
        """Wait until nothing waits to be written."""
        await self._writer.written()

    def stats(self) -> SharedStats:
        nodes = self._servers.nodes
        up = sum(not node.breaker.open for node in nodes)
        return SharedStats(dict(self._events), len(nodes), up, self._writer.waiting_bytes)

    async def rows(self, key: RowKey, fields: Fields) -> StoredRows | None:
        found = await self._read("rows", key.raw, lambda head: unpack_rows(head, fields))
        return None if found is None else found[0].rows(found[1])

    async def row_facts(self, key: RowKey, fields: Fields) -> RowsFacts | None:
        return await self._peek("rows", key.raw, lambda head: unpack_rows(head, fields))

    async def sidecar(self, key: RowKey, name: str, fields: Fields) -> memoryview | None:
        found = await self._read("rows", sidecar(key, name), lambda head: check_fields(head, fields))
        return None if found is None else found[1]

    async def facts(self, key: UploadKey) -> Facts | None:
        return await self._peek("facts", key.raw, unpack)

    async def pixel_digest(self, key: UploadKey) -> str | None:
        facts = await self._facts_to_delete(key.raw)
        if facts is not None:
            return str(facts["pixel_digest"])
        kept = await self._value(image_key("deleted", key.raw), _PIXELS)
        digest = "" if kept is None else kept.decode(errors="replace")
        return digest if is_digest(digest) else None

    async def tenant_facts(self, tenant: bytes) -> list[Facts]:
        images = [image_of(key)[1] for key in await self._keys("facts", tenant)]
        found = [await self._facts_to_delete(image) for image in images]
        return [facts for facts in found if facts is not None]

    def put_rows(self, permit: WritePermit, key: RowKey, fields: Fields, rows: StoredRows) -> None:
        self._put(
            QueuedRecord(permit, "rows", key.raw, pack_rows(fields, rows), rows.data, self._limits.ttl_s)
        )

    def offer_rows(self, permit: WritePermit, key: RowKey, fields: Fields, rows: StoredRows) -> None:
        if key.raw not in self._known and self._servers.serve(address("rows", key.raw).key):
            self._known.add(key.raw)
            facts = pack_rows(fields, rows)
            self._put(
                QueuedRecord(permit, "rows", key.raw, facts, rows.data, self._limits.ttl_s, if_missing=True)
            )

    def put_sidecar(self, permit: WritePermit, key: RowKey, name: str, fields: Fields, data: bytes) -> None:
        facts = pack({"fields": dict(fields)})
        self._put(
            QueuedRecord(permit, "rows", sidecar(key, name), facts, memoryview(data), self._limits.ttl_s)
        )

    def put_facts(self, tenant: Tenant, key: UploadKey, pixels: bytes, facts: Facts, expires: float) -> None:
        left_s = max(1, int(expires - time.time()))
        ttl_s = min(left_s, self._limits.ttl_s or left_s)
        permit = self._permits.issue(tenant)
        permit.pixels = pixels
        self._put(QueuedRecord(permit, "facts", key.raw, pack(facts), _NOTHING, ttl_s))

    async def delete_rows(self, tenant: bytes, pixels: bytes) -> None:
        await self._delete(image_key("rows", tenant + pixels))

    async def delete_facts(self, key: UploadKey, pixel_digest: str) -> None:
        kept = image_key("deleted", key.raw)

        async def keep(execute: Execute) -> None:
            await execute("HSET", kept, _PIXELS, pixel_digest)
            await execute("EXPIRE", kept, DELETED_S)

        await self._confirmed(kept, keep)
        await self._delete(image_key("facts", key.raw))

    async def delete_tenant_facts(self, tenant: bytes) -> None:
        await self._delete_all("facts", tenant)
        await self._delete_all("deleted", tenant)

    async def delete_tenant_rows(self, tenant: bytes) -> None:
        await self._delete_all("rows", tenant)

    async def _read(self, kind: Kind, raw: bytes, decode: Decode[T]) -> tuple[T, memoryview] | None:
        """The decoded header and the checked payload; None is a miss."""
        place = address(kind, raw)
        head, data = await self._fields(place, (place.head, place.data))
        if head is None or data is None:
            self._count(kind, raw, "misses")
            return None
        try:
            if len(data) < _IN_THREAD_BYTES:
                found = _checked(raw, head, data, decode)
            else:
                found = await asyncio.to_thread(_checked, raw, head, data, decode)
        except RecordInvalid as error:
            await self._discard(kind, raw, place, error)
            return None
        self._count(kind, raw, "hits")
        self._known.add(raw)
        return found

    async def _peek(self, kind: Kind, raw: bytes, decode: Decode[T]) -> T | None:
        """The decoded header, without its payload."""
        place = address(kind, raw)
        (head,) = await self._fields(place, (place.head,))
        if head is None:
            self._count(kind, raw, "misses")
            return None
        try:
            found = decode(Head.unpack(head, raw))
        except RecordInvalid as error:
            await self._discard(kind, raw, place, error)
            return None
        self._count(kind, raw, "hits")
        return found

    async def _fields(self, place: RecordAddress, names: tuple[bytes, ...]) -> list[bytes | None]:
        """The values of fields; None for each that is not there, and for all if no server answers."""

        async def get(execute: Execute) -> list[bytes | None]:
            values: list[bytes | None] = await execute("HMGET", place.key, *names)
            return values

        try:
            return await self._servers.call(place.key, get, self._limits.read_s)
        except (NodeDown, ValkeyError) as error:
            self._note("read", error)
            return [None] * len(names)

    async def _discard(self, kind: Kind, raw: bytes, place: RecordAddress, error: RecordInvalid) -> None:
        """Delete a record that failed a check: it would fail again."""
        self._count(kind, raw, "failed_checks")
        log.warning("shared_record_invalid", check=str(error))

        async def discard(execute: Execute) -> None:
            await execute("HDEL", place.key, place.head, place.data)

        try:
            await self._servers.call(place.key, discard, self._limits.write_s)
        except (NodeDown, ValkeyError) as failure:
            self._note("discard", failure)

    def _put(self, record: QueuedRecord) -> None:
        if not self._writer.add(record):
            self._count(record.kind, record.raw, "dropped_puts")

    async def _store(self, queued: QueuedRecord) -> None:
        """Write a record. One that a server does not take is dropped: it costs a later encode."""
        place = address(queued.kind, queued.raw)
        record = await asyncio.to_thread(Record.cut, queued.raw, queued.facts, queued.data, time.time())
        fields = (place.head, record.head.pack(), place.data, queued.data.cast("B"))

        async def store(execute: Execute) -> bool:
            if queued.if_missing and await execute("HEXISTS", place.key, place.head):
                return False
            await execute("HSET", place.key, *fields)
            if queued.ttl_s:
                await execute("EXPIRE", place.key, queued.ttl_s)
            if await execute("HLEN", place.key) > MAX_IMAGE_FIELDS:
                await execute("UNLINK", place.key)
            return True

        try:
            written = await self._servers.call(place.key, store, self._limits.write_s)
        except (NodeDown, ValkeyError) as error:
            self._note("write", error)
            self._count(queued.kind, queued.raw, "dropped_puts")
            return
        self._known.add(queued.raw)
        if written:
            self._count(queued.kind, queued.raw, "puts")

    async def _delete(self, key: bytes) -> None:
        async def delete(execute: Execute) -> None:
            await execute("UNLINK", key)

        await self._confirmed(key, delete)

    async def _facts_to_delete(self, raw: bytes) -> Facts | None:
        """Facts that a deletion needs. Raises SharedCacheNotCleared where a miss would leave rows behind."""
        place = address("facts", raw)
        head = await self._value(place.key, place.head)
        try:
            return None if head is None else unpack(Head.unpack(head, raw))
        except RecordInvalid as error:
            await self._discard("facts", raw, place, error)
            return None

    async def _value(self, key: bytes, name: bytes) -> bytes | None:
        """A field. Raises SharedCacheNotCleared."""

        async def get(execute: Execute) -> list[bytes | None]:
            values: list[bytes | None] = await execute("HMGET", key, name)
            return values

        (value,) = await self._confirmed(key, get)
        return value

    async def _confirmed(self, key: bytes, command: Command[T]) -> T:
        """What a deletion asks of a server, also while its breaker is open. Raises SharedCacheNotCleared."""
        try:
            return await self._servers.attempt(key, command, self._limits.write_s)
        except (NodeDown, ValkeyError) as error:
            raise SharedCacheNotCleared from error

    async def _delete_all(self, kind: Kind, tenant: bytes) -> None:
        for key in await self._keys(kind, tenant):
            await self._delete(key)

    async def _keys(self, kind: Kind, tenant: bytes) -> list[bytes]:
        """All keys of a tenant, of every server. Raises SharedCacheNotCleared."""
        pattern = tenant_pattern(kind, tenant)
        try:
            found = [await self._scan(node, pattern) for node in self._servers.nodes]
        except (NodeDown, ValkeyError) as error:
            raise SharedCacheNotCleared from error
        return [key for keys in found for key in keys]

    async def _scan(self, node: CacheNode, pattern: bytes) -> set[bytes]:
        found, cursor = set[bytes](), 0

        async def scan(execute: Execute) -> tuple[int, list[bytes]]:
            page: tuple[int, list[bytes]] = await execute(
                "SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT
            )
            return page

        while True:
            cursor, keys = await node.attempt(scan, self._limits.write_s)
            found.update(keys)
            if cursor == 0:
                return found

    async def _check_policy(self, node: CacheNode) -> None:
        """Warn of a server that has no bound, or that refuses writes once it is full."""

        async def ask(execute: Execute) -> dict[str, object]:
            memory: dict[str, object] = await execute("INFO", "memory")
            return memory

        try:
            memory = await node.call(ask, self._limits.read_s)
        except (NodeDown, ValkeyError):  # it is down, or the user may not ask
            return
        policy = memory.get("maxmemory_policy")
        if not memory.get("maxmemory") or policy == "noeviction":
            log.warning("shared_cache_unbounded", server=node.name, maxmemory_policy=policy)

    def _note(self, verb: str, error: Exception) -> None:
        """A server that is down is in the log already, and may come back empty. Refusals are logged."""
        self._events["servers", "errors"] += 1
        if isinstance(error, NodeDown):
            if any(node.breaker.open for node in self._servers.nodes):
                self._known.clear()
            return
        why = "full" if isinstance(error, OutOfMemoryError) else type(error).__name__
        if self._warnings.passes(f"{verb} {why}"):
            log.warning("shared_cache_refused", verb=verb, why=why)

    def _count(self, kind: Kind, raw: bytes, event: str) -> None:
        self._events["rankings" if is_sidecar(raw) else kind, event] += 1


def _checked(raw: bytes, packed: bytes, data: bytes, decode: Decode[T]) -> tuple[T, memoryview]:
    """Raises RecordInvalid."""
    head, payload = Head.unpack(packed, raw), memoryview(data)
    head.check(payload)
    return decode(head), payload
