"""The encoder process as its service sees it: loading, then serving; limits, state and statistics.

Independent of protobuf.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from encoder_svc.encoder import Encoder
from encoder_svc.errors import ArenaOff
from encoder_svc.leases import ArenaUse, RowLease, RowLeases
from encoder_svc.store.store import LmdbStore
from encoder_svc.uploads import Uploads
from fovea.contract.cache import CacheStats, Deleted
from fovea.contract.errors import NotReady
from fovea.contract.plan import EncodePlan
from fovea.contract.rows import RowLayout
from fovea.geometry import Geometry

FEATURES: tuple[str, ...] = (
    "put_image",
    "encode",
    "place_rows",
    "count_tokens",
    "cache_stats",
    "max_pixels",
    "flat_tolerance",
    "row_choice",
)


@dataclass(frozen=True)
class EncoderLimits:
    """The limits of an encoder, as GetServerInfo reports them."""

    max_message_bytes: int
    max_image_bytes: int
    max_image_pixels: int
    max_image_side: int
    max_image_aspect: int
    max_jpeg_scans: int
    default_max_pixels: int
    max_pixels: int
    min_pixels: int
    max_batch_patches: int
    max_queue: int
    cache_bytes: int
    uploads_bytes: int
    arena_bytes: int
    arena_lease_s: int
    idle_s: int


@dataclass(frozen=True)
class EncoderDescription:
    """What stays constant while the process runs."""

    name: str
    model: str
    geometry: Geometry
    limits: EncoderLimits
    device: str
    dtype: str


@dataclass(frozen=True)
class EncoderLoad:
    """Current load; `encodes` counts since the start."""

    waiting: int = 0
    running: int = 0
    encodes: int = 0


class ServiceState:
    """The encoder process. `open` admits calls for rows once the tower has run a dummy image."""

    def __init__(self, description: EncoderDescription, store: LmdbStore, uploads: Uploads) -> None:
        self.description = description
        self.version = version("fovea")
        self.progress = 0.0
        self.draining = False
        self.uploads = uploads
        self._store = store
        self._encoder: Encoder | None = None
        self._leases: RowLeases | None = None

    def open(self, encoder: Encoder, leases: RowLeases | None) -> None:
        self._encoder = encoder
        self._leases = leases
        self.progress = 1.0

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

    def arena_use(self) -> ArenaUse:
        return self._leases.use() if self._leases else ArenaUse()

    def load(self) -> EncoderLoad:
        if self._encoder is None:
            return EncoderLoad()
        batcher = self._encoder.cache.batcher
        return EncoderLoad(batcher.waiting, batcher.running, batcher.encodes)

    async def lease(self, digest: str, plan: EncodePlan, fingerprint: str) -> RowLease:
        """The rows of `Encoder.encode`, in shared memory. Also raises ArenaOff and ArenaFull."""
        jobs = self.encoder.jobs
        if self._leases is None:
            raise ArenaOff
        return await self._leases.lease(await jobs.build(digest, plan, fingerprint))

    def release(self, leases: Iterable[str]) -> int:
        return self._leases.release(leases) if self._leases else 0

    async def delete(self, digest: str) -> Deleted:
        """Delete the upload and all rows of its pixels. An unknown image frees nothing."""
        stored = await self.uploads.find(digest)
        if stored is None:
            return Deleted(0, 0, 0)
        upload = await self.uploads.delete(digest)
        pixels = bytes.fromhex(stored.facts.pixel_digest.removeprefix("sha256:"))
        tenant = self.uploads.policy.tenant
        if self._leases is not None:
            self._leases.drop(tenant, pixels)
        if self._encoder is not None:
            self._encoder.rankings.drop(tenant, pixels)
        rows = await asyncio.to_thread(self._store.delete_rows, tenant, pixels)
        return Deleted(upload.records, rows.records, upload.bytes + rows.bytes)

    async def cache_stats(self) -> CacheStats:
        stats = await asyncio.to_thread(self._store.stats)
        rows, uploads = stats.total.rows, stats.total.uploads
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
