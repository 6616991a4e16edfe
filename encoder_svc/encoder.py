"""The encoder: from the id of an image and a plan to its rows, computed once and kept.

One computation a key however many ask: a second caller joins the first in the batcher, and until the rows are
written they are served from memory. What is kept are all encoded rows; a plan that chooses gets the best of
them. Knows uploads, store and batcher; knows no protobuf and no torch.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import structlog

from encoder_svc.core import EncodedRows, EncodeJob, PlacedRows, RowIdentity, ServedRows, Timings
from encoder_svc.rankings import Rankings
from encoder_svc.reduction import choice, rankers
from encoder_svc.reduction.gather import encoded_places, gather
from encoder_svc.reduction.rankers import Seen
from encoder_svc.reduction.ranking import Places, Ranking
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey, variant
from encoder_svc.store.store import Store
from encoder_svc.uploads import Uploads
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.flight import Encoded
from encoder_svc.vision.prepare import ImagePreparer, PreparedImage
from fovea.contract.errors import EncoderMismatch, MaxPixelsOutOfRange
from fovea.contract.plan import ALL_ROWS, EncodePlan
from fovea.contract.rows import RowOrigin, digest
from fovea.finite import first_not_finite
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
        self._salient: Counter[RowKey] = Counter()
        self._unwritten: dict[RowKey, asyncio.Task[StoredRows]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    async def written(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self.rankings.written()

    async def close(self) -> None:
        await self.written()
        await self.rankings.close()

    def limit(self, max_pixels: int | None) -> int:
        """The limit of a plan. Raises MaxPixelsOutOfRange."""
        geometry = self.identity.geometry
        if max_pixels is None:
            return geometry.within(self._default_max_pixels)
        if not geometry.min_pixels <= max_pixels <= geometry.max_pixels:
            raise MaxPixelsOutOfRange("plan.max_pixels", geometry.min_pixels, geometry.max_pixels, max_pixels)
        return max_pixels

    async def encode(self, image: str, plan: EncodePlan, fingerprint: str) -> ServedRows:
        """Raises what `asked` and `rows` raise."""
        return await self.rows(await self.asked(image, plan, fingerprint))

    async def asked(self, image: str, plan: EncodePlan, fingerprint: str) -> EncodeJob:
        """All checks of a call. Raises ImageNotStored, EncoderMismatch, MaxPixelsOutOfRange, and what
        `choice.check` raises.
        """
        began = time.perf_counter()
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
        return EncodeJob(image, key, fields, size, plan, planned, layout, began)

    async def rows(self, asked: EncodeJob) -> ServedRows:
        """Out of the store, or computed. Raises EncoderBusy, RankingFailed, and what decoding and the tower
        raise.
        """
        if asked.choice.all:
            whole = await self._whole(asked)
            return self._served(asked, whole, whole.rows)
        ranking, whole = await self._ranked(asked)
        places = choice.best(ranking, asked.choice)
        return self._served(asked, whole, await asyncio.to_thread(gather, whole.rows, places))

    async def place(self, asked: EncodeJob, stored_only: bool) -> PlacedRows:
        """Which rows these are, and no row: the tower runs only where nothing else can tell. Raises as
        `rows`.
        """
        placed = await self._placed(asked, stored_only)
        return replace(placed, timings=replace(placed.timings, total_ms=_ms(asked.began)))

    async def length(self, asked: EncodeJob) -> int:
        """The bytes of the rows that are sent; at once where the size of the image tells them."""
        if asked.plan.flat_tolerance is None and not asked.choice.auto:
            count = asked.choice.count(asked.planned.tokens)
        else:
            count = (await self.place(asked, stored_only=False)).count
        return count * asked.layout.row_bytes

    def used(self, asked: EncodeJob) -> None:
        """Rows that were found elsewhere count as found in the store, and as used there."""
        self._store.note_use(asked.key)

    def _served(self, asked: EncodeJob, whole: EncodedRows, rows: StoredRows) -> ServedRows:
        timings = replace(whole.timings, total_ms=_ms(asked.began))
        return ServedRows(asked, rows, whole.rows.count, whole.origin, timings, whole.joined)

    async def _placed(self, asked: EncodeJob, stored_only: bool) -> PlacedRows:
        reducer = asked.choice.reducer
        if asked.choice.all:
            kept = await self._flat_places(asked)
            return PlacedRows(asked, known=True, kept=kept)
        if reducer not in rankers.NEEDS_ROWS:
            return _best(asked, self._by_place(asked, await self._flat_places(asked)))
        ranking = await self.rankings.find(asked)
        if ranking is not None:
            return _best(asked, ranking)
        if not stored_only:
            ranking, whole = await self._made(asked)
            origin = RowOrigin.NONE if whole.origin is RowOrigin.STORE else whole.origin
            return replace(_best(asked, ranking), origin=origin, joined=whole.joined, timings=whole.timings)
        held = None if reducer in rankers.NEEDS_SALIENCY else await self._held(asked)
        if held is None:
            return PlacedRows(asked, known=False)
        return _best(asked, await asyncio.shield(self.rankings.make(asked, partial(_seen, held))))

    async def _flat_places(self, asked: EncodeJob) -> Places | None:
        """Of the rows that are encoded; from their record where there is one, else from the pixels."""
        if asked.plan.flat_tolerance is None:
            return None
        facts = await asyncio.to_thread(self._store.facts, asked.key, asked.fields)
        if facts is not None:
            return None if facts.kept is None else np.asarray(facts.kept, np.int32)
        return await self._preparer.places(await self.uploads.data(asked.image), asked.plan)

    def _by_place(self, asked: EncodeJob, places: Places | None) -> Ranking:
        _, high, wide = asked.planned.grid_thw
        merge = self.identity.geometry.merge
        if places is None:
            places = np.arange(high // merge * (wide // merge), dtype=np.int32)
        return rankers.by_place(asked.choice.reducer, places, wide // merge)

    async def _ranked(self, asked: EncodeJob) -> tuple[Ranking, EncodedRows]:
        """All encoded rows and their order: found, or made."""
        if asked.choice.reducer not in rankers.NEEDS_ROWS:
            whole = await self._whole(asked)
            return self._by_place(asked, encoded_places(whole.rows)), whole
        ranking = await self.rankings.find(asked)
        if ranking is None:
            return await self._made(asked)
        whole = await self._whole(asked)
        # Not the same places: an older way to find squares of one colour ordered them.
        return (ranking, whole) if ranking.of(encoded_places(whole.rows)) else await self._made(asked)

    async def _made(self, asked: EncodeJob) -> tuple[Ranking, EncodedRows]:
        """Nothing is awaited between the end of a computation and the start of its ranking, so that whoever
        asks meanwhile finds one of them.
        """
        self.rankings.check_room(asked)
        if asked.choice.reducer in rankers.NEEDS_SALIENCY:
            encoded = await self._compute(asked, saliency=True)
            making = self.rankings.make(asked, partial(self._seen_by_tower, encoded))
            whole = await self._encoded(asked, encoded)
        else:
            whole = await self._whole(asked)
            making = self.rankings.make(asked, partial(_seen, whole.rows))
        return await asyncio.shield(making), whole

    def _seen_by_tower(self, encoded: Encoded) -> Seen:
        seen = _seen(self._rows(encoded, ""))
        return replace(seen, saliency=encoded.saliency, uniform=encoded.uniform)

    async def _whole(self, asked: EncodeJob) -> EncodedRows:
        """All encoded rows."""
        looked = time.perf_counter()
        rows = await self._held(asked)
        if rows is not None:
            return EncodedRows(rows, RowOrigin.STORE, Timings(store_ms=_ms(looked)))
        return await self._encoded(asked, await self._compute(asked, saliency=False))

    async def _held(self, asked: EncodeJob) -> StoredRows | None:
        """Rows that wait to be written, or from the store; looked at again after the wait for the store."""
        if asked.key not in self._unwritten:
            rows = await asyncio.to_thread(self._stored, asked)
            if rows is not None:
                return rows
        unwritten = self._unwritten.get(asked.key)
        return None if unwritten is None else await asyncio.shield(unwritten)

    def _stored(self, asked: EncodeJob) -> StoredRows | None:
        """A record with values that are not finite is a miss, and the rows computed anew take its place."""
        rows = self._store.get(asked.key, asked.fields)
        if rows is None:
            return None
        data = np.frombuffer(rows.data, np.uint8).reshape(rows.count, rows.layout.row_bytes)
        bad = first_not_finite(data, rows.layout)
        if bad is None:
            return rows
        log.warning("stored_rows_not_finite", image=asked.image, row=bad)
        return None

    async def _compute(self, asked: EncodeJob, saliency: bool) -> Encoded:
        """By the tower, once for all who ask meanwhile. Rows that are computed with saliency serve those who
        need none; the others serve nobody who does.
        """
        if saliency or self._salient[asked.key]:
            return await self._compute_with_saliency(asked)
        return await self.batcher.encode(asked.key, asked.planned.patches, partial(self._prepare, asked))

    async def _compute_with_saliency(self, asked: EncodeJob) -> Encoded:
        key, prepare = asked.key, partial(self._prepare, asked, uniform=True)
        self._salient[key] += 1
        try:
            return await self.batcher.encode((key, "saliency"), asked.planned.patches, prepare, saliency=True)
        finally:
            self._salient[key] -= 1
            if not self._salient[key]:
                del self._salient[key]

    async def _prepare(self, asked: EncodeJob, uniform: bool = False) -> PreparedImage:
        return await self._preparer.prepare(await self.uploads.data(asked.image), asked.plan, uniform)

    async def _encoded(self, asked: EncodeJob, encoded: Encoded) -> EncodedRows:
        """The rows of a computation with their digest; the first who asks has them written down too."""
        fresh = self._unwritten.get(asked.key)
        if fresh is None:
            fresh = asyncio.create_task(self._digested(encoded))
            if encoded.first:
                self._unwritten[asked.key] = fresh
                write = asyncio.create_task(self._write(asked, fresh))
                self._writes.add(write)
                write.add_done_callback(self._writes.discard)
        return EncodedRows(
            await asyncio.shield(fresh), RowOrigin.ENCODED, _timings(encoded), joined=not encoded.first
        )

    async def _digested(self, encoded: Encoded) -> StoredRows:
        return self._rows(encoded, await asyncio.to_thread(digest, encoded.rows))

    def _rows(self, encoded: Encoded, sha: str) -> StoredRows:
        kept = None if encoded.kept is None else tuple(encoded.kept.tolist())
        return StoredRows(memoryview(encoded.rows), self.identity.layout, encoded.grid_thw, sha, kept)

    async def _write(self, asked: EncodeJob, fresh: asyncio.Task[StoredRows]) -> None:
        """A put that is skipped costs a later encode and nothing else."""
        try:
            rows = await fresh
            put = await asyncio.to_thread(self._store.put, asked.key, asked.fields, rows)
            if not put.stored and put.skipped != "off":
                log.warning("rows_not_stored", why=put.skipped, bytes=rows.data.nbytes)
        finally:
            del self._unwritten[asked.key]


def _best(asked: EncodeJob, ranking: Ranking) -> PlacedRows:
    kept = choice.best(ranking, asked.choice)
    every = len(kept) == asked.planned.tokens
    return PlacedRows(asked, known=True, kept=None if every else kept, order=ranking.order)


def _seen(rows: StoredRows) -> Seen:
    return Seen(encoded_places(rows), pooled(rows.data, rows.layout))


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000


def _timings(encoded: Encoded) -> Timings:
    times = encoded.times
    return Timings(times.queue_ms, times.decode_ms, times.preprocess_ms, times.tower_ms)
