"""The encoder: from the id of an image and a plan to its rows, computed once and kept.

One computation a key however many ask: a second caller joins the first in the batcher, and until the rows are
written they are served from memory. Knows uploads, store and batcher; knows no protobuf and no torch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from encoder_svc.errors import EncoderMismatch, MaxPixelsOutOfRange
from encoder_svc.store.core import Rows
from encoder_svc.store.keys import RowKey, variant
from encoder_svc.store.store import Store
from encoder_svc.uploads import Uploads
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.flight import Encoded
from encoder_svc.vision.prepare import Prepared, Preparer
from fovea.facts import ImageFacts
from fovea.geometry import Geometry, Planned
from fovea.plan import RowPlan
from fovea.rows import RowLayout, digest

# Raise by one whenever our code would compute other rows from the same pixels: old records no longer fit.
ROWS_REVISION = 2
log = structlog.get_logger()


@dataclass(frozen=True)
class RowIdentity:
    """What decides the values of rows, beside pixels and plan."""

    fingerprint: str
    layout: RowLayout
    compute_dtype: str
    geometry: Geometry

    def fields(self, grid: tuple[int, int, int]) -> Mapping[str, str | int]:
        """The fields of a variant: a record answers only where all of them agree."""
        return {
            "fingerprint": self.fingerprint,
            "rows_revision": ROWS_REVISION,
            "grid": "x".join(map(str, grid)),
            "flat_patches": "keep",
            "compute_dtype": self.compute_dtype,
            "row_dtype": self.layout.dtype.value,
            "width": self.layout.width,
            "levels": self.layout.levels,
        }


@dataclass(frozen=True)
class Asked:
    """The rows that a call asks for, once it is sure that they can be had: their key and what they cost."""

    image: str
    key: RowKey
    size: tuple[int, int]
    max_pixels: int
    planned: Planned
    began: float


@dataclass(frozen=True)
class Timings:
    """Milliseconds; zero where a stage did not happen. `total_ms` is from the call to the first row."""

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    tower_ms: float = 0.0
    store_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True)
class Served:
    """The rows of one image as they go out; `size` is its width and height, `source` encoded or rows.

    `joined` where another call had asked first: the tower ran once for both.
    """

    rows: Rows
    source: str
    size: tuple[int, int]
    max_pixels: int
    timings: Timings
    joined: bool = False


class Encoder:
    """Serves the rows of stored images."""

    def __init__(
        self,
        identity: RowIdentity,
        uploads: Uploads,
        store: Store,
        preparer: Preparer,
        batcher: Batcher,
        default_max_pixels: int,
    ) -> None:
        self.identity = identity
        self.uploads = uploads
        self.batcher = batcher
        self._store = store
        self._preparer = preparer
        self._default_max_pixels = default_max_pixels
        self._unwritten: dict[RowKey, asyncio.Task[Rows]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for rows that are being written."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    def limit(self, max_pixels: int | None) -> int:
        """The limit of a plan. Raises MaxPixelsOutOfRange."""
        geometry = self.identity.geometry
        if max_pixels is None:
            return geometry.within(self._default_max_pixels)
        if not geometry.min_pixels <= max_pixels <= geometry.max_pixels:
            raise MaxPixelsOutOfRange(geometry.min_pixels, geometry.max_pixels, max_pixels)
        return max_pixels

    async def encode(self, image: str, max_pixels: int | None, fingerprint: str) -> Served:
        """Raises what `asked` and `rows` raise."""
        return await self.rows(await self.asked(image, max_pixels, fingerprint))

    async def asked(self, image: str, max_pixels: int | None, fingerprint: str) -> Asked:
        """All checks of a call. Raises ImageNotStored, EncoderMismatch, MaxPixelsOutOfRange."""
        began = time.perf_counter()
        if fingerprint and fingerprint != self.identity.fingerprint:
            raise EncoderMismatch(fingerprint, self.identity.fingerprint)
        limit = self.limit(max_pixels)
        facts = (await self.uploads.describe(image)).facts
        planned = self.identity.geometry.plan(facts.width, facts.height, limit)
        key = self._key(facts, planned.grid_thw)
        return Asked(image, key, (facts.width, facts.height), limit, planned, began)

    async def rows(self, asked: Asked) -> Served:
        """Out of the store, or computed. Raises EncoderBusy, and what decoding and the tower raise."""
        key, planned = asked.key, asked.planned
        served = partial(Served, size=asked.size, max_pixels=asked.max_pixels)
        looked = time.perf_counter()
        rows = await self._held(key, planned.grid_thw)
        if rows is not None:
            return served(rows, "rows", timings=Timings(store_ms=_ms(looked), total_ms=_ms(asked.began)))
        prepare = partial(self._prepare, asked.image, asked.max_pixels)
        encoded = await self.batcher.encode(key, planned.patches, prepare)
        rows = await asyncio.shield(self._fresh(key, encoded))
        return served(rows, "encoded", timings=_timings(encoded, asked.began), joined=not encoded.first)

    def used(self, asked: Asked) -> None:
        """Rows that were found elsewhere count as found in the store, and as used there."""
        self._store.note_use(asked.key)

    def _key(self, facts: ImageFacts, grid: tuple[int, int, int]) -> RowKey:
        pixels = bytes.fromhex(facts.pixel_digest.removeprefix("sha256:"))
        return RowKey(self.uploads.policy.tenant, pixels, variant(self.identity.fields(grid)))

    async def _held(self, key: RowKey, grid: tuple[int, int, int]) -> Rows | None:
        """Rows that wait to be written, or from the store; looked at again after the wait for the store."""
        if key not in self._unwritten:
            rows = await asyncio.to_thread(self._store.get, key, self.identity.fields(grid))
            if rows is not None:
                return rows
        unwritten = self._unwritten.get(key)
        return None if unwritten is None else await asyncio.shield(unwritten)

    async def _prepare(self, image: str, limit: int) -> Prepared:
        return await self._preparer.prepare(await self.uploads.data(image), RowPlan(limit))

    def _fresh(self, key: RowKey, encoded: Encoded) -> asyncio.Task[Rows]:
        """The rows of a computation with their digest; the first who asks has them written down too."""
        fresh = self._unwritten.get(key)
        if fresh is None:
            fresh = asyncio.create_task(self._digested(encoded))
            if encoded.first:
                self._unwritten[key] = fresh
                write = asyncio.create_task(self._write(key, fresh))
                self._writes.add(write)
                write.add_done_callback(self._writes.discard)
        return fresh

    async def _digested(self, encoded: Encoded) -> Rows:
        sha = await asyncio.to_thread(digest, encoded.rows)
        return Rows(memoryview(encoded.rows), self.identity.layout, encoded.grid_thw, sha)

    async def _write(self, key: RowKey, fresh: asyncio.Task[Rows]) -> None:
        """A put that is skipped costs a later encode and nothing else."""
        try:
            rows = await fresh
            put = await asyncio.to_thread(self._store.put, key, self.identity.fields(rows.grid_thw), rows)
            if not put.stored and put.skipped != "off":
                log.warning("rows_not_stored", why=put.skipped, bytes=rows.data.nbytes)
        finally:
            del self._unwritten[key]


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000


def _timings(encoded: Encoded, began: float) -> Timings:
    times = encoded.times
    return Timings(times.queue_ms, times.decode_ms, times.preprocess_ms, times.tower_ms, total_ms=_ms(began))
