"""The second level as the rest of the encoder sees it, and one that holds nothing.

Reads are a value or a miss, and writes are queued: neither raises. Only deletions raise, because the caller
must know what may be left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from encoder_svc.permits import WritePermit
from encoder_svc.store.core import Facts, StoredRows
from encoder_svc.store.facts import RowsFacts
from encoder_svc.store.keys import Fields, RowKey, UploadKey
from encoder_svc.tenant import Tenant


@dataclass(frozen=True)
class SharedLimits:
    """Bounds of the second level: seconds of a read and of a write, seconds without calls after a failure,
    connections to a server, bytes that wait to be written, seconds that an image is kept (0 is no bound).
    """

    read_s: float
    write_s: float
    rest_s: float
    connections: int
    queue_bytes: int
    ttl_s: int


@dataclass(frozen=True)
class SharedStats:
    """Events by kind of record since the process started; servers that answer, and all; bytes that wait."""

    events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    servers: int = 0
    servers_up: int = 0
    queue_bytes: int = 0


class SecondLevel:
    """A second level without a server: every read is a miss."""

    async def start(self) -> None:
        """Returns once the servers were asked, whether or not they answer."""

    async def close(self) -> None:
        """Write what waits, for a bounded time."""

    def stats(self) -> SharedStats:
        return SharedStats()

    async def rows(self, key: RowKey, fields: Fields) -> StoredRows | None:
        """The rows of `key`, if the record echoes `fields` and passes every check."""
        return None

    async def row_facts(self, key: RowKey, fields: Fields) -> RowsFacts | None:
        """The facts of the rows of `key`, without the rows."""
        return None

    async def sidecar(self, key: RowKey, name: str, fields: Fields) -> memoryview | None:
        """The sidecar `name` of the rows of `key`. Checked like rows."""
        return None

    async def facts(self, key: UploadKey) -> Facts | None:
        """The facts of an image that some encoder has stored. Its bytes are not here."""
        return None

    async def pixel_digest(self, key: UploadKey) -> str | None:
        """That of an image that some encoder has stored, or that was deleted lately: an encoder that missed
        the deletion may still hold its rows. Raises SharedCacheNotCleared.
        """
        return None

    async def tenant_facts(self, tenant: bytes) -> list[Facts]:
        """The facts of every image of a tenant. Raises SharedCacheNotCleared."""
        return []

    def put_rows(self, permit: WritePermit, key: RowKey, fields: Fields, rows: StoredRows) -> None:
        """Queue rows, whose bytes must not change. They are dropped if the queue is full."""

    def offer_rows(self, permit: WritePermit, key: RowKey, fields: Fields, rows: StoredRows) -> None:
        """Queue rows of the encoder's own store, unless they are here: it was full or away when they were
        computed, or has lost them.
        """

    def put_sidecar(self, permit: WritePermit, key: RowKey, name: str, fields: Fields, data: bytes) -> None:
        """Queue a sidecar of rows."""

    def put_facts(self, tenant: Tenant, key: UploadKey, pixels: bytes, facts: Facts, expires: float) -> None:
        """Queue the facts of an image; `expires` in epoch seconds. A deletion of its pixels drops them."""

    async def delete_rows(self, tenant: bytes, pixels: bytes) -> None:
        """Delete the rows of an image under every plan, with their sidecars. Raises SharedCacheNotCleared."""

    async def delete_facts(self, key: UploadKey, pixel_digest: str) -> None:
        """Delete the facts of an image, and keep its pixel digest for a while. Raises
        SharedCacheNotCleared.
        """

    async def delete_tenant_facts(self, tenant: bytes) -> None:
        """Delete the facts of every image of a tenant, and what is kept of deleted ones. Raises
        SharedCacheNotCleared.
        """

    async def delete_tenant_rows(self, tenant: bytes) -> None:
        """Delete all rows of a tenant. Raises SharedCacheNotCleared."""


NOT_SHARED = SecondLevel()
