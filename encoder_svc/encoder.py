"""The encoder: from a job to the rows that its plan selects.

The record holds all encoded rows; a plan that selects gets the best of them by their ranking. `job_builder`
checks requests, `row_cache` reads or computes rows. Independent of protobuf and torch.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import numpy as np

from encoder_svc.core import EncodedRows, EncodeJob, PlacedRows, ServedRows
from encoder_svc.job_builder import JobBuilder
from encoder_svc.rankings import Rankings
from encoder_svc.reduction import choice, rankers
from encoder_svc.reduction.gather import gather
from encoder_svc.reduction.rankers import RankerInput
from encoder_svc.reduction.ranking import Ranking
from encoder_svc.row_cache import RowCache
from encoder_svc.store.core import StoredRows
from encoder_svc.tenant import Tenant
from fovea.contract.plan import EncodePlan
from fovea.contract.row_stream import GridIndices
from fovea.contract.rows import RowOrigin
from fovea.deadline import NO_DEADLINE, Deadline
from fovea.pooled import pooled


class Encoder:
    """Serves the rows of stored images."""

    def __init__(self, jobs: JobBuilder, cache: RowCache, rankings: Rankings) -> None:
        self.jobs = jobs
        self.cache = cache
        self.rankings = rankings

    async def written(self) -> None:
        """Wait for pending writes."""
        await self.cache.written()
        await self.rankings.written()

    async def close(self) -> None:
        """Stop the tower, then wait for pending writes."""
        await self.cache.batcher.close()
        await self.written()
        await self.rankings.close()

    async def encode(
        self,
        tenant: Tenant,
        image: str,
        plan: EncodePlan,
        fingerprint: str,
        deadline: Deadline = NO_DEADLINE,
    ) -> ServedRows:
        """Raises what building the job and `rows` raise."""
        return await self.rows(await self.jobs.build(tenant, image, plan, fingerprint, deadline))

    async def rows(self, job: EncodeJob) -> ServedRows:
        """Read the rows from the store or compute them. Raises EncoderBusy, RankingFailed, and what decoding
        and the tower raise.
        """
        if job.selection.all:
            all_rows = await self.cache.get(job)
            return _served_rows(job, all_rows, all_rows.rows)
        ranking, all_rows = await self._ranked_rows(job)
        indices = choice.best(ranking, job.selection)
        return _served_rows(job, all_rows, await asyncio.to_thread(gather, all_rows.rows, indices))

    async def place(self, job: EncodeJob, stored_only: bool) -> PlacedRows:
        """Return the kept indices without rows. The tower runs only if nothing else can tell. Raises as
        `rows`.
        """
        placed = await self._place(job, stored_only)
        return replace(placed, timings=replace(placed.timings, total_ms=job.elapsed_ms))

    async def length(self, job: EncodeJob) -> int:
        """Bytes of the rows that are sent. Immediate if the image size decides them."""
        if job.plan.flat_tolerance is None and not job.selection.auto:
            count = job.selection.count(job.planned.tokens)
        else:
            count = (await self.place(job, stored_only=False)).count
        return count * job.layout.row_bytes

    async def _place(self, job: EncodeJob, stored_only: bool) -> PlacedRows:
        reducer = job.selection.reducer
        if job.selection.all:
            return PlacedRows(job, known=True, kept=await self.cache.indices(job))
        if reducer not in rankers.NEEDS_ROWS:
            return _best(job, self._rank_by_position(job, await self.cache.indices(job)))
        ranking = await self.rankings.find(job)
        if ranking is not None:
            return _best(job, ranking)
        if not stored_only:
            ranking, all_rows = await self._make_ranking(job)
            origin = RowOrigin.NONE if all_rows.origin is RowOrigin.STORE else all_rows.origin
            return replace(
                _best(job, ranking), origin=origin, joined=all_rows.joined, timings=all_rows.timings
            )
        stored = None if reducer in rankers.NEEDS_SALIENCY else await self.cache.find(job)
        if stored is None:
            return PlacedRows(job, known=False)
        return _best(job, await self.rankings.make(job, partial(_ranker_input, stored)))

    async def _ranked_rows(self, job: EncodeJob) -> tuple[Ranking, EncodedRows]:
        """All encoded rows and their ranking, stored or computed."""
        if job.selection.reducer not in rankers.NEEDS_ROWS:
            all_rows = await self.cache.get(job)
            return self._rank_by_position(job, all_rows.rows.kept), all_rows
        ranking = await self.rankings.find(job)
        if ranking is None:
            return await self._make_ranking(job)
        all_rows = await self.cache.get(job)
        # The indices differ if an older flat-patch rule made the ranking.
        if not ranking.of(all_rows.rows.indices):
            return await self._make_ranking(job)
        return ranking, all_rows

    async def _make_ranking(self, job: EncodeJob) -> tuple[Ranking, EncodedRows]:
        """Compute a ranking. No await separates the end of a computation from the start of its ranking, so a
        concurrent call always has the computation or the ranking to join.
        """
        self.rankings.check_room(job)
        salient = job.selection.reducer in rankers.NEEDS_SALIENCY
        all_rows = await (self.cache.compute(job, saliency=True) if salient else self.cache.get(job))
        return await self.rankings.make(job, partial(_ranker_input, all_rows)), all_rows

    def _rank_by_position(self, job: EncodeJob, kept: GridIndices | None) -> Ranking:
        columns = job.planned.grid_thw[2] // self.jobs.identity.geometry.merge
        indices = np.arange(job.planned.tokens, dtype=np.int32) if kept is None else kept
        return rankers.by_position(job.selection.reducer, indices, columns)


def _served_rows(job: EncodeJob, all_rows: EncodedRows, rows: StoredRows) -> ServedRows:
    timings = replace(all_rows.timings, total_ms=job.elapsed_ms)
    return ServedRows(job, rows, all_rows.rows.count, all_rows.origin, timings, all_rows.joined)


def _best(job: EncodeJob, ranking: Ranking) -> PlacedRows:
    kept = choice.best(ranking, job.selection)
    complete = len(kept) == job.planned.tokens
    return PlacedRows(job, known=True, kept=None if complete else kept, order=ranking.order)


def _ranker_input(all_rows: EncodedRows) -> RankerInput:
    rows = all_rows.rows
    return RankerInput(rows.indices, pooled(rows.data, rows.layout), all_rows.saliency, all_rows.uniform)
