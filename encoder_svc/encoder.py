"""The encoder: from an image id and a plan to rows, which are computed once and stored.

Concurrent callers of a key share a computation in the batcher. Rows are served from memory until they are
written. The record holds all encoded rows; a plan that selects gets the best of them. Uses uploads, store and
batcher; independent of protobuf and torch.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

import numpy as np
import structlog

from encoder_svc.core import EncodedRows, EncodeJob, PlacedRows, RowIdentity, ServedRows
from encoder_svc.rankings import Rankings
from encoder_svc.reduction import choice, rankers
from encoder_svc.reduction.gather import encoded_indices, gather
from encoder_svc.reduction.rankers import RankerInput
from encoder_svc.reduction.ranking import GridIndices, Ranking
from encoder_svc.single_flight import SingleFlight
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey, variant
from encoder_svc.store.store import Store
from encoder_svc.uploads import Uploads
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.output import Timings
from encoder_svc.vision.prepare import ImagePreparer, PreparedImage
from encoder_svc.vision.queued_image import QueuedImage
from fovea.contract.errors import EncoderMismatch, MaxPixelsOutOfRange
from fovea.contract.plan import ALL_ROWS, EncodePlan
from fovea.contract.rows import RowOrigin, digest
from fovea.pooled import pooled

log = structlog.get_logger()


class Encoder:
    """Serves the rows of stored images."""

    def __init__(
        self,
        identity: RowIdentity,
        uploads: Uploads,
        store: Store,
        preparer: ImagePreparer,
        batcher: Batcher,
        default_max_pixels: int,
    ) -> None:
        self.identity = identity
        self.uploads = uploads
        self.batcher = batcher
        self.rankings = Rankings(store)
        self._store = store
        self._preparer = preparer
        self._default_max_pixels = default_max_pixels
        # By row key, and whether the computation also yields saliency.
        self._computations: SingleFlight[tuple[RowKey, bool], EncodedRows] = SingleFlight()

    async def written(self) -> None:
        """Wait for pending writes."""
        await self._computations.written()
        await self.rankings.written()

    async def close(self) -> None:
        await self.written()
        await self.rankings.close()

    def limit(self, max_pixels: int | None) -> int:
        """Resolve the `max_pixels` of a plan. Raises MaxPixelsOutOfRange."""
        geometry = self.identity.geometry
        if max_pixels is None:
            return geometry.within(self._default_max_pixels)
        if not geometry.min_pixels <= max_pixels <= geometry.max_pixels:
            raise MaxPixelsOutOfRange("plan.max_pixels", geometry.min_pixels, geometry.max_pixels, max_pixels)
        return max_pixels

    async def encode(self, image: str, plan: EncodePlan, fingerprint: str) -> ServedRows:
        """Raises what `create_job` and `rows` raise."""
        return await self.rows(await self.create_job(image, plan, fingerprint))

    async def create_job(self, image: str, plan: EncodePlan, fingerprint: str) -> EncodeJob:
        """Check a call. Raises ImageNotStored, EncoderMismatch, MaxPixelsOutOfRange, and what `choice.check`
        raises.
        """
        started = time.perf_counter()
        if fingerprint and fingerprint != self.identity.fingerprint:
            expected, actual = fingerprint[:80], self.identity.fingerprint
            raise EncoderMismatch(
                f"this encoder serves rows {actual}, not {expected}", expected=expected, actual=actual
            )
        choice.check(plan)
        rows = ALL_ROWS if plan.rows.all else plan.rows
        plan = EncodePlan(self.limit(plan.max_pixels), plan.flat_tolerance, rows)
        facts = (await self.uploads.describe(image)).facts
        planned = self.identity.geometry.plan(facts.width, facts.height, plan.max_pixels)
        fields = self.identity.fields(planned.grid_thw, plan.flat_tolerance)
        pixels = bytes.fromhex(facts.pixel_digest.removeprefix("sha256:"))
        key = RowKey(self.uploads.policy.tenant, pixels, variant(fields))
        size, layout = (facts.width, facts.height), self.identity.layout
        return EncodeJob(image, key, fields, size, plan, planned, layout, started)

    async def rows(self, job: EncodeJob) -> ServedRows:
        """Read the rows from the store or compute them. Raises EncoderBusy, RankingFailed, and what decoding
        and the tower raise.
        """
        if job.selection.all:
            all_rows = await self._all_rows(job)
            return self._served_rows(job, all_rows, all_rows.rows)
        ranking, all_rows = await self._ranked_rows(job)
        indices = choice.best(ranking, job.selection)
        return self._served_rows(job, all_rows, await asyncio.to_thread(gather, all_rows.rows, indices))

    async def place(self, job: EncodeJob, stored_only: bool) -> PlacedRows:
        """Return the kept indices without rows. The tower runs only if nothing else can tell. Raises as
        `rows`.
        """
        placed = await self._place(job, stored_only)
        return replace(placed, timings=replace(placed.timings, total_ms=_ms(job.started)))

    async def length(self, job: EncodeJob) -> int:
        """Bytes of the rows that are sent. Immediate if the image size decides them."""
        if job.plan.flat_tolerance is None and not job.selection.auto:
            count = job.selection.count(job.planned.tokens)
        else:
            count = (await self.place(job, stored_only=False)).count
        return count * job.layout.row_bytes

    def used(self, job: EncodeJob) -> None:
        """Count rows served from the arena as a hit and a use of their record."""
        self._store.note_use(job.key)

    def _served_rows(self, job: EncodeJob, all_rows: EncodedRows, rows: StoredRows) -> ServedRows:
        timings = replace(all_rows.timings, total_ms=_ms(job.started))
        return ServedRows(job, rows, all_rows.rows.count, all_rows.origin, timings, all_rows.joined)

    async def _place(self, job: EncodeJob, stored_only: bool) -> PlacedRows:
        reducer = job.selection.reducer
        if job.selection.all:
            kept = await self._encoded_indices(job)
            return PlacedRows(job, known=True, kept=kept)
        if reducer not in rankers.NEEDS_ROWS:
            return _best(job, self._rank_by_position(job, await self._encoded_indices(job)))
        ranking = await self.rankings.find(job)
        if ranking is not None:
            return _best(job, ranking)
        if not stored_only:
            ranking, all_rows = await self._make_ranking(job)
            origin = RowOrigin.NONE if all_rows.origin is RowOrigin.STORE else all_rows.origin
            return replace(
                _best(job, ranking), origin=origin, joined=all_rows.joined, timings=all_rows.timings
            )
        rows = None if reducer in rankers.NEEDS_SALIENCY else await self._stored_or_unwritten(job)
        if rows is None:
            return PlacedRows(job, known=False)
        return _best(job, await self.rankings.make(job, partial(_ranker_input, rows)))

    async def _encoded_indices(self, job: EncodeJob) -> GridIndices | None:
        """Indices of the rows that are encoded: from their record if it exists, else from the pixels."""
        if job.plan.flat_tolerance is None:
            return None
        facts = await asyncio.to_thread(self._store.facts, job.key, job.fields)
        if facts is not None:
            return None if facts.kept is None else np.asarray(facts.kept, np.int32)
        return await self._preparer.places(await self.uploads.data(job.image), job.plan)

    def _rank_by_position(self, job: EncodeJob, indices: GridIndices | None) -> Ranking:
        _, height, width = job.planned.grid_thw
        merge = self.identity.geometry.merge
        if indices is None:
            indices = np.arange(height // merge * (width // merge), dtype=np.int32)
        return rankers.by_position(job.selection.reducer, indices, width // merge)

    async def _ranked_rows(self, job: EncodeJob) -> tuple[Ranking, EncodedRows]:
        """All encoded rows and their ranking, stored or computed."""
        if job.selection.reducer not in rankers.NEEDS_ROWS:
            all_rows = await self._all_rows(job)
            return self._rank_by_position(job, encoded_indices(all_rows.rows)), all_rows
        ranking = await self.rankings.find(job)
        if ranking is None:
            return await self._make_ranking(job)
        all_rows = await self._all_rows(job)
        # The indices differ if an older flat-patch rule made the ranking.
        return (
            (ranking, all_rows)
            if ranking.of(encoded_indices(all_rows.rows))
            else await self._make_ranking(job)
        )

    async def _make_ranking(self, job: EncodeJob) -> tuple[Ranking, EncodedRows]:
        """Compute a ranking. No await separates the end of a computation from the start of its ranking, so a
        concurrent call always joins either of them.
        """
        self.rankings.check_room(job)
        salient = job.selection.reducer in rankers.NEEDS_SALIENCY
        all_rows = await (self._compute(job, saliency=True) if salient else self._all_rows(job))
        return await self.rankings.make(job, partial(_ranker_input, all_rows)), all_rows

    async def _all_rows(self, job: EncodeJob) -> EncodedRows:
        """All encoded rows."""
        return await self._stored_or_unwritten(job) or await self._compute(job, saliency=False)

    async def _stored_or_unwritten(self, job: EncodeJob) -> EncodedRows | None:
        """Looks for an unwritten result again after a miss: it may have been computed during the read."""
        started = time.perf_counter()
        rows = self._unwritten(job.key)
        if rows is None:
            rows = await asyncio.to_thread(self._store.get, job.key, job.fields) or self._unwritten(job.key)
        if rows is None:
            return None
        return EncodedRows(rows, RowOrigin.STORE, Timings(store_ms=_ms(started)))

    def _unwritten(self, key: RowKey) -> StoredRows | None:
        computed = self._computations.unwritten((key, True)) or self._computations.unwritten((key, False))
        return computed.rows if computed else None

    async def _compute(self, job: EncodeJob, saliency: bool) -> EncodedRows:
        """Run the tower, once for concurrent callers. A computation with saliency also serves callers that
        need none, but not the reverse. It stops if all of its callers leave before it reaches the tower.
        """
        salient = saliency or (job.key, True) in self._computations
        image = QueuedImage(job.planned.patches, partial(self._prepare, job, salient), salient)
        computed, first = await self._computations.join(
            (job.key, salient),
            partial(self._encode, image),
            partial(self._write, job),
            may_stop=lambda: not image.begun,
        )
        return replace(computed, joined=not first)

    async def _prepare(self, job: EncodeJob, uniform: bool) -> PreparedImage:
        return await self._preparer.prepare(await self.uploads.data(job.image), job.plan, uniform)

    async def _encode(self, image: QueuedImage) -> EncodedRows:
        encoded = await self.batcher.encode(image)
        rows_digest = await asyncio.to_thread(digest, encoded.rows)
        kept = None if encoded.kept is None else tuple(encoded.kept.tolist())
        rows = StoredRows(memoryview(encoded.rows), self.identity.layout, encoded.grid_thw, rows_digest, kept)
        return EncodedRows(
            rows, RowOrigin.ENCODED, encoded.timings, saliency=encoded.saliency, uniform=encoded.uniform
        )

    async def _write(self, job: EncodeJob, computed: EncodedRows) -> None:
        """A skipped put costs a later encode and nothing else."""
        rows = computed.rows
        put = await asyncio.to_thread(self._store.put, job.key, job.fields, rows)
        if not put.stored and put.skipped != "off":
            log.warning("rows_not_stored", why=put.skipped, bytes=rows.data.nbytes)


def _best(job: EncodeJob, ranking: Ranking) -> PlacedRows:
    kept = choice.best(ranking, job.selection)
    complete = len(kept) == job.planned.tokens
    return PlacedRows(job, known=True, kept=None if complete else kept, order=ranking.order)


def _ranker_input(all_rows: EncodedRows) -> RankerInput:
    rows = all_rows.rows
    return RankerInput(
        encoded_indices(rows), pooled(rows.data, rows.layout), all_rows.saliency, all_rows.uniform
    )


def _ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
