"""All encoded rows of an image: read from the store, from the second level, or computed once for concurrent
callers and stored in both.

Rows are served from memory until they are written. Rows of the second level are stored too, so that the next
read needs no server. Uses uploads, store, second level and batcher; independent of rankings and of which rows
a plan sends.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

import structlog

from encoder_svc.core import EncodedRows, EncodeJob, RowIdentity
from encoder_svc.permits import WritePermits
from encoder_svc.shared.level import NOT_SHARED, SecondLevel
from encoder_svc.single_flight import SingleFlight
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey
from encoder_svc.store.store import LmdbStore
from encoder_svc.uploads import Uploads
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.output import Timings
from encoder_svc.vision.prepare import ImagePreparer, PreparedImage
from encoder_svc.vision.queued_image import QueuedImage
from fovea.contract.row_stream import GridIndices
from fovea.contract.rows import RowOrigin, digest
from fovea.logs import Repeats

log = structlog.get_logger()


class RowCache:
    """Confined to an event loop. Its batcher must be started."""

    def __init__(
        self,
        identity: RowIdentity,
        uploads: Uploads,
        store: LmdbStore,
        preparer: ImagePreparer,
        batcher: Batcher,
        permits: WritePermits,
        shared: SecondLevel = NOT_SHARED,
    ) -> None:
        self.batcher = batcher
        self._layout = identity.layout
        self._uploads = uploads
        self._store = store
        self._preparer = preparer
        self._permits = permits
        self._shared = shared
        self._warnings = Repeats()
        # By row key, and whether the computation also yields saliency.
        self._computations: SingleFlight[tuple[RowKey, bool], EncodedRows] = SingleFlight()
        self._queued: dict[tuple[RowKey, bool], QueuedImage] = {}
        self._fetches: SingleFlight[RowKey, StoredRows | None] = SingleFlight()

    async def get(self, job: EncodeJob) -> EncodedRows:
        """Raises EncoderBusy, and what decoding and the tower raise."""
        return await self.find(job) or await self.compute(job, saliency=False)

    async def find(self, job: EncodeJob) -> EncodedRows | None:
        """Rows that are stored, here or in the second level, or about to be. Looks for unwritten rows again
        after a miss, because they may have been computed during the read.
        """
        started = time.perf_counter()
        rows = self._unwritten(job.key)
        if rows is None:
            rows = await self._read(job) or self._unwritten(job.key)
        if rows is None and not self._is_computing(job.key):
            rows = await self._fetch(job)
        if rows is None:
            return None
        return EncodedRows(rows, RowOrigin.STORE, Timings(store_ms=(time.perf_counter() - started) * 1000))

    async def compute(self, job: EncodeJob, saliency: bool) -> EncodedRows:
        """Run the tower, once for concurrent callers. A computation with saliency also serves callers that
        need none, but not the reverse. It stops if all of its callers leave before it reaches the tower.
        """
        salient = saliency or (job.key, True) in self._computations
        key = job.key, salient
        deadline = job.deadline.or_never
        image = QueuedImage(
            job.planned.patches,
            partial(self._prepare, job, salient),
            salient,
            tenant=job.tenant.name,
            deadline=deadline,
        )
        self._queued.get(key, image).extend(deadline)
        computed, first = await self._computations.join(
            key,
            partial(self._encode, key, image),
            partial(self._write, job),
            may_stop=lambda: not image.begun,
        )
        return replace(computed, joined=not first)

    async def indices(self, job: EncodeJob) -> GridIndices | None:
        """Indices of the rows that are encoded, None for all: from their record if it exists, else from the
        pixels.
        """
        if job.plan.flat_tolerance is None:
            return None
        facts = await asyncio.to_thread(self._store.facts, job.key, job.fields)
        facts = facts or await self._shared.row_facts(job.key, job.fields)
        if facts is not None:
            return facts.kept
        key = self._uploads.key(job.tenant, job.image)
        return await self._preparer.kept_indices(
            key, await self._uploads.data(job.tenant, job.image), job.plan
        )

    def note_use(self, job: EncodeJob) -> None:
        """Count rows that were served from elsewhere as a hit and a use of their record."""
        self._store.note_use(job.key)

    async def written(self) -> None:
        """Wait for pending writes."""
        await self._computations.written()
        await self._fetches.written()

    def _unwritten(self, key: RowKey) -> StoredRows | None:
        computed = self._computations.unwritten((key, True)) or self._computations.unwritten((key, False))
        return computed.rows if computed else self._fetches.unwritten(key)

    def _is_computing(self, key: RowKey) -> bool:
        return (key, True) in self._computations or (key, False) in self._computations

    async def _read(self, job: EncodeJob) -> StoredRows | None:
        """Rows of the store, which the second level may have missed."""
        rows = await asyncio.to_thread(self._store.get, job.key, job.fields)
        if rows is not None:
            self._shared.offer_rows(job.permit, job.key, job.fields, rows)
        return rows

    async def _fetch(self, job: EncodeJob) -> StoredRows | None:
        """Rows of the second level, read once for concurrent callers."""
        read = partial(self._shared.rows, job.key, job.fields)
        rows, _ = await self._fetches.join(job.key, read, partial(self._write_fetched, job))
        return rows

    async def _prepare(self, job: EncodeJob, uniform: bool) -> PreparedImage:
        key = self._uploads.key(job.tenant, job.image)
        return await self._preparer.prepare(
            key, await self._uploads.data(job.tenant, job.image), job.plan, uniform
        )

    async def _encode(self, key: tuple[RowKey, bool], image: QueuedImage) -> EncodedRows:
        self._queued[key] = image
        try:
            encoded = await self.batcher.encode(image)
        finally:
            if self._queued[key] is image:  # a cancelled computation ends after its successor has begun
                del self._queued[key]
        rows_digest = await asyncio.to_thread(digest, encoded.rows)
        data = memoryview(encoded.rows)
        rows = StoredRows(data, self._layout, encoded.grid_thw, rows_digest, encoded.kept)
        return EncodedRows(
            rows, RowOrigin.ENCODED, encoded.timings, saliency=encoded.saliency, uniform=encoded.uniform
        )

    async def _write(self, job: EncodeJob, computed: EncodedRows) -> None:
        """A skipped put costs a later encode and nothing else. Rows of a deleted image are not stored."""
        with self._permits.write(job.permit) as permitted:
            if not permitted:
                return
            self._shared.put_rows(job.permit, job.key, job.fields, computed.rows)
            await self._put(job, computed.rows)

    async def _write_fetched(self, job: EncodeJob, rows: StoredRows | None) -> None:
        if rows is None:
            return
        with self._permits.write(job.permit) as permitted:
            if permitted:
                await self._put(job, rows)

    async def _put(self, job: EncodeJob, rows: StoredRows) -> None:
        put = await asyncio.to_thread(self._store.put, job.key, job.fields, rows)
        if not put.stored and put.skipped != "off" and self._warnings.passes(put.skipped):
            log.warning("rows_not_stored", why=put.skipped, bytes=rows.data.nbytes)
