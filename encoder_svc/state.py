"""The encoder process as its service sees it: loading, then serving; limits, state and statistics.

Independent of protobuf.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from encoder_svc.encoder import Encoder
from encoder_svc.errors import ArenaOff, SharedCacheNotCleared
from encoder_svc.leases import ArenaUse, RowLease, RowLeases
from encoder_svc.permits import WritePermits
from encoder_svc.shared.level import NOT_SHARED, SecondLevel, SharedStats
from encoder_svc.store.amounts import Amount
from encoder_svc.store.core import Facts, TenantStats
from encoder_svc.store.keys import RowKey
from encoder_svc.store.store import LmdbStore
from encoder_svc.tenant import Tenant
from encoder_svc.texts import Texts
from encoder_svc.uploads import Uploads, pixels_of
from encoder_svc.vision.batcher import TowerLoad
from fovea.contract.cache import CacheStats, Deleted
from fovea.contract.errors import NotReady
from fovea.contract.image import ImageKind, StoredImage
from fovea.contract.plan import EncodePlan
from fovea.contract.rows import RowLayout
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from fovea.server.connections import ConnectionLimits

FEATURES: tuple[str, ...] = (
    "put_image",
    "encode",
    "place_rows",
    "count_tokens",
    "cache_stats",
    "max_pixels",
    "flat_tolerance",
    "row_choice",
    "read_text",
)


MAX_UNCLEARED = 65_536


@dataclass(frozen=True, kw_only=True)
class EncoderLimits(ConnectionLimits):
    """The limits of an encoder, as GetServerInfo reports them."""

    max_message_bytes: int
    max_in_flight_bytes: int
    max_request_fields: int
    max_image_bytes: int
    max_image_pixels: int
    max_image_side: int
    max_image_aspect: int
    max_jpeg_scans: int
    decode_workers: int
    max_decode_s: float
    max_decode_memory_bytes: int
    default_max_pixels: int
    max_pixels: int
    min_pixels: int
    text_workers: int
    max_text_s: float
    max_text_memory_bytes: int
    max_text_bytes: int
    max_text_queue: int
    max_batch_patches: int
    max_queue: int
    cache_bytes: int
    uploads_bytes: int
    tenant_share: float
    arena_bytes: int
    arena_lease_s: int
    idle_s: int
    default_deadline_s: int
    max_wait_share: float
    max_tenant_images: int


@dataclass(frozen=True)
class EncoderDescription:
    """What stays constant while the process runs."""

    name: str
    model: str
    geometry: Geometry
    limits: EncoderLimits
    device: str
    dtype: str
    shares_rows: bool = False
    reads_uploads: bool = False


class ServiceState:
    """The encoder process. `open_store` admits uploads, and `open` calls for rows once the tower has run a
    dummy image.
    """

    def __init__(self, description: EncoderDescription, permits: WritePermits) -> None:
        self.description = description
        self.version = version("fovea")
        self.progress = 0.0
        self.draining = False
        self._opened: tuple[LmdbStore, Uploads, Texts] | None = None
        self._shared = NOT_SHARED
        self._permits = permits
        self._encoder: Encoder | None = None
        self._leases: RowLeases | None = None
        self._uncleared: dict[tuple[Tenant, str], bytes] = {}
        """Pixel digests of images that were deleted here and that the second level may still hold."""

    def open_store(
        self, store: LmdbStore, uploads: Uploads, texts: Texts, shared: SecondLevel = NOT_SHARED
    ) -> None:
        self._opened = store, uploads, texts
        self._shared = shared

    def open(self, encoder: Encoder, leases: RowLeases | None) -> None:
        self._encoder = encoder
        self._leases = leases
        self.progress = 1.0

    def tenant(self, name: str) -> Tenant:
        return Tenant.of(name, self.description.shares_rows)

    @property
    def uploads(self) -> Uploads:
        """Raises NotReady until `open_store`."""
        return self._stored[1]

    @property
    def texts(self) -> Texts:
        """Raises NotReady until `open_store`."""
        return self._stored[2]

    @property
    def _store(self) -> LmdbStore:
        return self._stored[0]

    @property
    def _stored(self) -> tuple[LmdbStore, Uploads, Texts]:
        if self._opened is None:
            raise NotReady(self.progress)
        return self._opened

    @property
    def encoder(self) -> Encoder:
        """Raises NotReady until `open`."""
        if self._encoder is None:
            raise NotReady(self.progress)
        return self._encoder

    @property
    def serving_state(self) -> str:
        if self.draining:
            return "DRAINING"
        if self._encoder is None:
            return "LOADING"
        return "SERVING" if self._encoder.cache.batcher.healthy else "FAILED"

    @property
    def layout(self) -> RowLayout | None:
        return self._encoder.jobs.identity.layout if self._encoder else None

    @property
    def fingerprint(self) -> str:
        return self._encoder.jobs.identity.fingerprint if self._encoder else ""

    @property
    def arena(self) -> str:
        """The id of the arena; empty without an arena."""
        return self._leases.arena if self._leases else ""

    @property
    def text_reader(self) -> str:
        """The name and version of the reader of text; empty if there is none."""
        identity = self._opened[2].identity if self._opened else None
        return str(identity or "")

    @property
    def texts_waiting(self) -> int:
        """Images that wait for the reader of text, or are being read."""
        return self._opened[2].waiting if self._opened else 0

    @property
    def erasure_due(self) -> bool:
        """Whether deleted bytes wait for a compaction of the store."""
        return self._opened is not None and self._store.erasure_due

    def store_total(self) -> TenantStats:
        """The sums of all tenants. Raises NotReady until `open_store`, and StoreFailed."""
        return self._store.total()

    def shared_stats(self) -> SharedStats:
        return self._shared.stats()

    def arena_use(self) -> ArenaUse:
        return self._leases.use() if self._leases else ArenaUse()

    def load(self, tenant: Tenant | None = None) -> TowerLoad:
        """The load of a tenant's images, or of all."""
        if self._encoder is None:
            return TowerLoad()
        return self._encoder.cache.batcher.load(None if tenant is None else tenant.name)

    @property
    def batches(self) -> int:
        """Calls of the tower since the start."""
        return 0 if self._encoder is None else self._encoder.cache.batcher.batches

    async def close_texts(self) -> None:
        if self._opened is not None:
            await self.texts.close()

    def note_upload(self, tenant: Tenant, stored: StoredImage) -> None:
        """Read the text of a new image of text in the background, if the setting says so."""
        new = not stored.already and stored.facts.kind is ImageKind.TEXT
        if self.description.reads_uploads and new and self.texts.identity is not None:
            self.texts.begin(tenant, stored.facts.digest)

    async def lease(
        self, tenant: Tenant, digest: str, plan: EncodePlan, fingerprint: str, deadline: Deadline
    ) -> RowLease:
        """The rows of `Encoder.encode`, in shared memory. Also raises ArenaOff and ArenaFull."""
        jobs = self.encoder.jobs
        if self._leases is None:
            raise ArenaOff
        return await self._leases.lease(await jobs.build(tenant, digest, plan, fingerprint, deadline))

    def release(self, tenant: Tenant, leases: Iterable[str]) -> int:
        return self._leases.release(tenant, leases) if self._leases else 0

    async def delete(self, tenant: Tenant, digest: str) -> Deleted:
        """Delete the upload, its text and all rows of its pixels, also those that are being computed, here
        and in the second level. Of an unknown image only text can be left. Raises SharedCacheNotCleared once
        everything is deleted here.
        """
        pixels = await self.uploads.pixels(tenant, digest) or self._uncleared.get((tenant, digest))
        try:
            pixels = pixels or await self.uploads.shared_pixels(tenant, digest)
        except SharedCacheNotCleared:
            await self._deleted(await self.texts.delete(tenant, digest), Amount())
            raise
        upload = rows = Amount()
        if pixels is not None:
            upload = await self.uploads.delete(tenant, digest)
            rows = await self._delete_rows(tenant, pixels)
        deleted = await self._deleted(upload + await self.texts.delete(tenant, digest), rows)
        if self._shared is not NOT_SHARED and pixels is not None:
            self._uncleared[tenant, digest] = pixels
            if len(self._uncleared) > MAX_UNCLEARED:
                del self._uncleared[next(iter(self._uncleared))]
            await self._delete_shared(tenant, digest, pixels)
            self._uncleared.pop((tenant, digest), None)
        return deleted

    async def _delete_shared(self, tenant: Tenant, digest: str, pixels: bytes) -> None:
        """Rows before the facts that tell which they are, so that a deletion that fails can be repeated. Then
        no new job finds the image, and jobs that found it meanwhile may store no rows.
        """
        await self._shared.delete_rows(tenant.rows, pixels)
        await self.uploads.delete_shared(tenant, digest, pixels)
        await self._delete_rows(tenant, pixels)
        await self._shared.delete_rows(tenant.rows, pixels)

    async def purge(self, tenant: Tenant) -> Deleted:
        """Delete everything of a tenant, here and in the second level. Of shared rows, delete those of the
        images that it has stored. Raises SharedCacheNotCleared once everything is deleted here.
        """
        facts = (
            await asyncio.to_thread(self._store.upload_facts, tenant.uploads) if tenant.shares_rows else []
        )
        deleted = await self._purge_store(tenant, facts)
        if self._shared is not NOT_SHARED:
            await self._purge_shared(tenant, facts)
        return deleted

    async def _purge_store(self, tenant: Tenant, pooled: Iterable[Facts]) -> Deleted:
        # Uploads first: a job that is built later finds no image, and earlier jobs have a permit to revoke.
        uploads = await asyncio.to_thread(self._store.delete_uploads, tenant.uploads)
        await self._permits.revoke(lambda permit: permit.tenant == tenant)
        self._forget(lambda key: key.tenant == tenant.uploads)
        rows = await asyncio.to_thread(self._store.delete_tenant, tenant.uploads)
        for facts in pooled:
            rows += await self._delete_rows(tenant, _pixels(facts))
        return await self._deleted(uploads, rows)

    async def _purge_shared(self, tenant: Tenant, pooled: Sequence[Facts]) -> None:
        """In the order of an image."""
        if tenant.shares_rows:
            pooled = [*pooled, *await self._shared.tenant_facts(tenant.uploads)]
        for facts in pooled:
            await self._shared.delete_rows(tenant.rows, _pixels(facts))
        await self._shared.delete_tenant_facts(tenant.uploads)
        await self._purge_store(tenant, pooled)
        await self._shared.delete_tenant_rows(tenant.uploads)
        for facts in pooled:
            await self._shared.delete_rows(tenant.rows, _pixels(facts))

    async def _deleted(self, uploads: Amount, rows: Amount) -> Deleted:
        erasure = await asyncio.to_thread(self._store.erase)
        return Deleted(uploads.records, rows.records, uploads.bytes + rows.bytes, erasure)

    async def _delete_rows(self, tenant: Tenant, pixels: bytes) -> Amount:
        await self._permits.revoke(lambda permit: permit.covers(tenant, pixels))
        self._forget(lambda key: (key.tenant, key.pixels) == (tenant.rows, pixels))
        return await asyncio.to_thread(self._store.delete_rows, tenant.rows, pixels)

    def _forget(self, matches: Callable[[RowKey], bool]) -> None:
        """Forget rows and rankings in memory."""
        if self._leases is not None:
            self._leases.drop(matches)
        if self._encoder is not None:
            self._encoder.rankings.drop(matches)

    async def cache_stats(self) -> CacheStats:
        """The sums over all tenants."""
        stats = await asyncio.to_thread(self._store.stats)
        total = stats.total
        rows, uploads = total.rows, total.uploads
        return CacheStats(
            records=rows.records,
            record_bytes=rows.bytes,
            record_capacity_bytes=stats.limits.capacity_bytes,
            uploads=uploads.records,
            upload_bytes=uploads.bytes,
            upload_capacity_bytes=stats.limits.uploads_bytes,
            hits=rows.hits,
            misses=rows.misses,
            evictions=rows.evictions,
            failed_checks=rows.failed_checks + uploads.failed_checks,
            skipped_puts=rows.skipped_puts,
        )


def _pixels(facts: Facts) -> bytes:
    return pixels_of(str(facts["pixel_digest"]))
