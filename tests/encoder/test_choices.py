"""Plans that leave rows out: a record and a ranking serve them all, and no record matches another plan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_svc.core import EncodeJob, PlacedRows, ServedRows
from encoder_svc.errors import RankingsBusy
from encoder_svc.reduction import rankers
from encoder_svc.reduction.errors import RankingFailed
from encoder_svc.store.keys import RowKey
from fovea.contract.plan import EncodePlan, Reducer, RowSelection
from fovea.contract.rows import digest
from tests.encoder.images.files import encoded
from tests.encoder.parts import LAYOUT, TENANT, Parts, running

PLAIN = EncodePlan()
FLAT = EncodePlan(flat_tolerance=0)
CELLS = 8 * 8


def page() -> bytes:
    """8x8 cells of noise; the bottom two rows of cells are white, except a cell that is partly white."""
    pixels = np.random.default_rng(3).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    pixels[192:] = 255
    pixels[230:250, 70:90] = 0
    return encoded(pixels)


def keeping(
    keep: float = 1.0, reducer: Reducer = Reducer.SCOPE, flat: int | None = None, auto: bool = False
) -> EncodePlan:
    return EncodePlan(flat_tolerance=flat, rows=RowSelection(keep, auto, reducer))


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with running(tmp_path / "store") as made:
        yield made


@pytest.fixture
async def image(parts: Parts) -> str:
    return (await parts.keep(TENANT, page())).facts.digest


async def place(parts: Parts, image: str, plan: EncodePlan, stored_only: bool = False) -> PlacedRows:
    return await parts.encoder.place(await parts.encoder.jobs.build(TENANT, image, plan, ""), stored_only)


def matrix(served: ServedRows) -> Any:
    return np.frombuffer(served.rows.data, np.uint8).reshape(served.rows.count, LAYOUT.row_bytes)


async def test_a_record_and_a_ranking_serve_every_selection(parts: Parts, image: str) -> None:
    """Concurrent and from an empty store: a single computation. Then a plan that keeps all reads the record."""
    plans = [keeping(keep) for keep in (0.3, 0.5, 0.75)] * 3
    chosen = await asyncio.gather(*(parts.encoder.encode(TENANT, image, plan, "") for plan in plans))
    assert (parts.tower.computed, parts.ranked) == ([1], [Reducer.SCOPE])
    assert sorted(served.joined for served in chosen) == [False] + [True] * 8
    await parts.encoder.written()
    whole = await parts.encoder.encode(TENANT, image, PLAIN, "")
    assert (whole.origin, whole.rows.kept, whole.rows.count) == ("rows", None, CELLS)
    for served, plan in zip(chosen, plans, strict=True):
        assert served.rows.kept is not None
        assert len(served.rows.kept) == plan.rows.count(CELLS)
        assert np.array_equal(matrix(served), matrix(whole)[served.rows.kept])
        assert (served.rows.digest, served.encoded) == (digest(served.rows.data), CELLS)
    few, half, most = (set(served.rows.indices) for served in chosen[:3])
    assert few < half < most
    assert parts.store.stats().total.rows.records == 1


async def test_a_call_without_saliency_joins_a_computation_with_saliency(parts: Parts, image: str) -> None:
    parts.tower.gate.clear()
    calls = [asyncio.create_task(parts.encoder.encode(TENANT, image, keeping(0.5), ""))]
    async with asyncio.timeout(10):
        while not parts.encoder.cache.batcher.running:
            await asyncio.sleep(0.002)
    calls.append(asyncio.create_task(parts.encoder.encode(TENANT, image, PLAIN, "")))
    await asyncio.sleep(0.05)
    parts.tower.gate.set()
    chosen, whole = await asyncio.gather(*calls)
    assert (parts.tower.computed, chosen.rows.count, whole.rows.count) == ([1], CELLS // 2, CELLS)
    assert whole.joined


async def test_a_ranking_is_computed_on_first_use(parts: Parts, image: str) -> None:
    """Stored rows have no attention: SCOPE runs the tower again, the others never do."""
    await parts.encoder.encode(TENANT, image, PLAIN, "")
    await parts.encoder.written()
    sources = []
    for reducer in (Reducer.DIVPRUNE, Reducer.STRIDE, Reducer.RANDOM, Reducer.SCOPE, Reducer.SCOPE):
        sources.append((await parts.encoder.encode(TENANT, image, keeping(0.5, reducer), "")).origin)
        await parts.encoder.written()
    assert sources == ["rows", "rows", "rows", "encoded", "rows"]
    assert parts.tower.with_saliency == [False, True]
    assert parts.ranked == [Reducer.DIVPRUNE, Reducer.SCOPE], "the other two read no rows"


async def test_a_ranking_survives_a_restart_and_is_deleted_with_the_image(tmp_path: Path) -> None:
    async with running(tmp_path / "store") as parts:
        image = (await parts.keep(TENANT, page())).facts.digest
        first = await parts.encoder.encode(TENANT, image, keeping(0.4), "")
    async with running(tmp_path / "store") as parts:
        job = await parts.encoder.jobs.build(TENANT, image, keeping(0.4), "")
        placed = await parts.encoder.place(job, stored_only=True)
        again = await parts.encoder.rows(job)
        assert placed.kept is not None
        assert placed.kept.tolist() == again.rows.indices.tolist() == first.rows.indices.tolist()
        assert (placed.origin, again.origin, again.rows.digest) == ("none", "rows", first.rows.digest)
        assert (parts.tower.computed, parts.ranked) == ([], [])
        await _assert_recomputed_if_invalid(parts, job, first)
        parts.encoder.rankings.drop(lambda key: key == job.key)
        removed = parts.store.delete_rows(TENANT.rows, job.key.pixels)
        left = parts.store.stats().total.rows
        assert (removed.records, left.records, left.bytes) == (1, 0, 0)
        assert not (await parts.encoder.place(job, stored_only=True)).known


async def _assert_recomputed_if_invalid(parts: Parts, job: EncodeJob, first: ServedRows) -> None:
    parts.store.put_sidecar(job.key, "scope.1", job.fields, b"no order")
    assert (await parts.encoder.rows(job)).rows.digest == first.rows.digest
    await parts.encoder.written()
    assert parts.ranked == [Reducer.SCOPE]
    other = RowKey(job.key.tenant, job.key.pixels, job.key.variant)
    assert len(parts.store.get_sidecar(other, "scope.1", job.fields) or b"") == 8 * CELLS


async def test_a_flat_record_never_answers_for_a_plain_plan(parts: Parts, image: str) -> None:
    flat = await parts.encoder.encode(TENANT, image, FLAT, "")
    await parts.encoder.written()
    plain = await parts.encoder.encode(TENANT, image, PLAIN, "")
    await parts.encoder.written()
    again = await parts.encoder.encode(TENANT, image, FLAT, "")
    tolerant = await parts.encoder.encode(TENANT, image, EncodePlan(flat_tolerance=1), "")
    assert [served.origin for served in (flat, plain, again, tolerant)] == [
        "encoded",
        "encoded",
        "rows",
        "encoded",
    ]
    assert flat.rows.indices.tolist() == again.rows.indices.tolist() == [*range(48), 58]
    assert np.array_equal(matrix(again), matrix(plain)[flat.rows.indices])


async def test_uniform_patches_are_placed_without_the_tower(parts: Parts, image: str) -> None:
    """From the pixels, or from the record once it exists. Selections start from the remaining cells."""
    placed = await place(parts, image, FLAT)
    assert placed.kept is not None
    assert (placed.known, placed.origin, tuple(placed.kept)) == (True, "none", (*range(48), 58))
    even = await place(parts, image, keeping(0.5, Reducer.STRIDE, flat=0), stored_only=True)
    assert even.known
    assert set(even.kept if even.kept is not None else ()) < set(placed.kept)
    assert parts.tower.computed == []
    served = await parts.encoder.encode(TENANT, image, keeping(0.5, flat=0), "")
    await parts.encoder.written()
    assert (served.rows.count, served.encoded) == (25, 49)
    assert set(served.rows.indices) < set(placed.kept)
    decodes = parts.decoder.decodes
    assert (await place(parts, image, FLAT)).count == 49
    assert parts.decoder.decodes == decodes


async def test_place_rows_with_stored_only_never_runs_the_tower(parts: Parts, image: str) -> None:
    for reducer in (Reducer.SCOPE, Reducer.DIVPRUNE):
        assert not (await place(parts, image, keeping(0.5, reducer), stored_only=True)).known
    assert parts.tower.computed == []
    placed = await place(parts, image, keeping(0.5))
    assert (placed.known, placed.origin, placed.count) == (True, "encoded", CELLS // 2)
    assert placed.order is not None
    assert sorted(placed.order) == list(range(CELLS))
    served = await parts.encoder.encode(TENANT, image, keeping(0.5), "")
    assert placed.kept is not None
    assert (served.origin, served.rows.indices.tolist()) == ("rows", placed.kept.tolist())
    assert (await place(parts, image, keeping(0.5, Reducer.DIVPRUNE), stored_only=True)).known
    assert parts.tower.computed == [1]


async def test_placed_rows_are_sent_even_if_the_store_keeps_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "store", capacity=0) as parts:
        image = (await parts.keep(TENANT, page())).facts.digest
        placed = await place(parts, image, keeping(0.5))
        await parts.encoder.written()
        served = await parts.encoder.encode(TENANT, image, keeping(0.5), "")
        assert placed.kept is not None
        assert served.rows.indices.tolist() == placed.kept.tolist()
        assert (parts.ranked, parts.tower.with_saliency) == ([Reducer.SCOPE], [True, False])
        parts.encoder.rankings.drop(lambda key: key == served.job.key)
        assert not (await place(parts, image, keeping(0.5), stored_only=True)).known


async def test_auto_keeps_some_and_not_all(parts: Parts, image: str) -> None:
    served = await parts.encoder.encode(TENANT, image, keeping(auto=True), "")
    assert (
        served.rows.count == (await place(parts, image, keeping(auto=True), stored_only=True)).count < CELLS
    )


async def test_a_failed_ranking_is_reported_and_the_next_call_computes_it(
    parts: Parts, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(rankers, "by_content", broken)
        calls = (parts.encoder.encode(TENANT, image, keeping(keep), "") for keep in (0.5, 0.6))
        failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in failed] == [RankingFailed] * 2
    await parts.encoder.written()
    assert (await parts.encoder.encode(TENANT, image, PLAIN, "")).origin == "rows"
    assert (await parts.encoder.encode(TENANT, image, keeping(0.5), "")).rows.count == CELLS // 2


async def test_images_that_wait_to_be_ranked_are_bounded(
    parts: Parts, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds the rows of an image. A call that joins a ranking holds nothing more."""
    other = (await parts.keep(TENANT, encoded(np.zeros((64, 64, 3), np.uint8)))).facts.digest
    for stored in (image, other):
        await parts.encoder.encode(TENANT, stored, PLAIN, "")
    await parts.encoder.written()
    monkeypatch.setattr("encoder_svc.rankings.MAX_WAITING", 1)
    began, gate = threading.Event(), threading.Event()
    rank = rankers.by_content

    def slow(reducer: Reducer, given: rankers.RankerInput) -> Any:
        began.set()
        gate.wait(20)
        return rank(reducer, given)

    monkeypatch.setattr(rankers, "by_content", slow)
    plan = keeping(0.5, Reducer.DIVPRUNE)
    first = asyncio.create_task(parts.encoder.encode(TENANT, image, plan, ""))
    assert await asyncio.to_thread(began.wait, 20)
    with pytest.raises(RankingsBusy):
        await parts.encoder.encode(TENANT, other, plan, "")
    joined = asyncio.create_task(parts.encoder.encode(TENANT, image, plan, ""))
    gate.set()
    assert (await first).rows.count == (await joined).rows.count == CELLS // 2
    await parts.encoder.written()
    assert (await parts.encoder.encode(TENANT, other, plan, "")).rows.count
