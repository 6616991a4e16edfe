"""The batcher on a fake tower that can be held, observed and broken."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from encoder_svc.errors import EncodeFailed, TowerFailed
from encoder_svc.single_flight import SingleFlight
from encoder_svc.vision.batcher import Batcher, BatchLimits
from encoder_svc.vision.output import Encoded, TowerOutput
from encoder_svc.vision.prepare import PreparedImage
from encoder_svc.vision.preprocess import Patches
from encoder_svc.vision.queued_image import QueuedImage
from fovea.contract.errors import (
    DeadlineUnreachable,
    EncoderBusy,
    ImageCorrupt,
    RowsNotFinite,
    TenantBusy,
)
from fovea.contract.rows import RowDtype

LIMITS = BatchLimits(max_batch_patches=16, max_prepared_patches=64, max_queue=8, max_wait_s=0.2)


def patches(name: int, count: int = 4) -> Patches:
    return Patches(np.full((count, 2), name, np.float32), (1, 2, count // 2))


def rows(name: int, count: int = 4) -> bytes:
    return bytes([name]) * count


class FakeTower:
    """Rows that spell the name of their image. Holds each call while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.broken: dict[int, BaseException] = {}
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, images: Sequence[Patches], saliency: bool) -> list[TowerOutput]:
        names = [int(image.values[0, 0]) for image in images]
        self.batches.append(names)
        if not self.gate.wait(timeout=20):
            raise RuntimeError("the test never opened the gate")
        for name in names:
            if name in self.broken:
                raise self.broken[name]
        attention = np.ones(1, np.float32) if saliency else None
        return [
            TowerOutput(rows(name, each.count), attention) for name, each in zip(names, images, strict=True)
        ]

    @property
    def computed(self) -> list[int]:
        return sorted(name for batch in self.batches for name in batch)


class Preparations:
    """Counts what was prepared; an image whose name is in `errors` fails, `hold` delays all."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.errors: dict[int, Exception] = {}
        self.hold = asyncio.Event()
        self.hold.set()

    def of(self, name: int, count: int = 4) -> Callable[[], Awaitable[PreparedImage]]:
        async def prepare() -> PreparedImage:
            self.begun.append(name)
            await self.hold.wait()
            if name in self.errors:
                raise self.errors[name]
            return PreparedImage(patches(name, count), decode_ms=1.0, preprocess_ms=2.0)

        return prepare


class SharingBatcher(Batcher):
    """A batcher whose calls for a key share a computation, as those of the encoder do."""

    def __init__(self, tower: FakeTower, limits: BatchLimits) -> None:
        super().__init__(tower, limits)
        self.calls: SingleFlight[object, Encoded] = SingleFlight()
        self.firsts: list[bool] = []

    async def share(
        self,
        key: object,
        patches: int,
        prepare: Callable[[], Awaitable[PreparedImage]],
        saliency: bool = False,
    ) -> Encoded:
        image = QueuedImage(patches, prepare, saliency)

        async def write(encoded: Encoded) -> None:
            pass

        encoded, first = await self.calls.join(
            key, partial(self.encode, image), write, may_stop=lambda: not image.begun
        )
        self.firsts.append(first)
        return encoded


@pytest.fixture
def tower() -> FakeTower:
    return FakeTower()


@pytest.fixture
async def work() -> Preparations:
    return Preparations()


@pytest.fixture
async def batcher(tower: FakeTower) -> AsyncIterator[SharingBatcher]:
    made = SharingBatcher(tower, LIMITS)
    made.start()
    yield made
    tower.gate.set()
    await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # most conditions here have no event
            await asyncio.sleep(0.002)


async def test_an_image_returns_with_its_grid_and_times(batcher: SharingBatcher, work: Preparations) -> None:
    encoded = await batcher.share("a", 4, work.of(1))
    assert (encoded.rows, encoded.grid_thw, batcher.firsts) == (rows(1), (1, 2, 2), [True])
    assert (encoded.timings.decode_ms, encoded.timings.preprocess_ms) == (1.0, 2.0)
    assert encoded.timings.queue_ms >= 0
    assert encoded.timings.tower_ms > 0


async def test_images_of_many_calls_share_a_tower_call_and_keep_their_own_rows(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    encoded = await asyncio.gather(*(batcher.share(i, 4, work.of(i)) for i in range(4)))
    assert [each.rows for each in encoded] == [rows(i) for i in range(4)]
    assert len(tower.batches) == 1


async def test_no_batch_exceeds_its_patches(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    sizes = [4, 8, 12, 4, 4, 8, 4]
    await asyncio.gather(*(batcher.share(i, size, work.of(i, size)) for i, size in enumerate(sizes)))
    assert tower.computed == list(range(7))
    assert all(sum(sizes[name] for name in batch) <= 16 for batch in tower.batches)
    assert len(tower.batches) < 7


async def test_an_image_larger_than_a_batch_and_the_patch_limit_is_computed_alone(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    small, large = batcher.share("s", 4, work.of(1)), batcher.share("l", 100, work.of(2, 100))
    await asyncio.gather(small, large)
    assert sorted(tower.batches) == [[1], [2]]


async def test_a_single_image_does_not_wait(tower: FakeTower, work: Preparations) -> None:
    """With a wait of an hour, the call would not return if the batcher waited without cause."""
    patient = SharingBatcher(tower, BatchLimits(max_wait_s=3600))
    patient.start()
    async with asyncio.timeout(10):
        await patient.share("a", 4, work.of(1))
    await patient.close()


async def test_a_batch_waits_for_others_no_longer_than_its_limit(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    """The other image's preparation ends only after the first has been computed."""
    work.hold.clear()
    slow = asyncio.create_task(batcher.share("slow", 4, work.of(2)))
    await until(lambda: work.begun == [2])
    quick = Preparations()
    async with asyncio.timeout(10):
        await batcher.share("quick", 4, quick.of(1))
    assert tower.batches == [[1]]
    work.hold.set()
    await slow


@pytest.mark.parametrize(
    ("patches", "batches"), [(4, [[1], [2], [3], [4]]), (8, [[1, 2], [3, 4]])], ids=["alone", "two a call"]
)
async def test_the_tower_takes_images_in_request_order(
    tower: FakeTower, patches: int, batches: list[list[int]]
) -> None:
    """The second is prepared last, while others that would fill a tower call are ready."""
    batcher = SharingBatcher(tower, BatchLimits(max_batch_patches=patches, max_wait_s=3600))
    batcher.start()
    slow, quick = Preparations(), Preparations()
    slow.hold.clear()
    works = {1: slow if patches == 4 else quick, 2: slow, 3: quick, 4: quick}
    calls = [asyncio.create_task(batcher.share(i, 4, works[i].of(i))) for i in works]
    await until(lambda: len(slow.begun) + len(quick.begun) == 4)
    slow.hold.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*calls)
    assert tower.batches == batches
    await batcher.close()


async def test_preparation_goes_on_while_the_tower_is_busy(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.gate.clear()
    first = asyncio.create_task(batcher.share(1, 16, work.of(1, 16)))
    await until(lambda: tower.batches == [[1]])
    second = asyncio.create_task(batcher.share(2, 4, work.of(2)))
    await until(lambda: work.begun == [1, 2])
    assert (batcher.running, batcher.waiting) == (1, 1)
    tower.gate.set()
    await asyncio.gather(first, second)
    assert (batcher.running, batcher.waiting) == (0, 0)


async def test_prepared_patches_are_bounded(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.gate.clear()
    calls = [asyncio.create_task(batcher.share(i, 16, work.of(i, 16))) for i in range(8)]
    await until(lambda: len(work.begun) == 4)
    await asyncio.sleep(0.05)
    assert len(work.begun) == 4, "64 patches of room hold four images of 16"
    tower.gate.set()
    await asyncio.gather(*calls)
    assert batcher._limiter.held == 0


async def test_concurrent_callers_share_a_computation(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.gate.clear()
    calls = [asyncio.create_task(batcher.share("same", 4, work.of(7))) for _ in range(50)]
    await until(lambda: tower.batches == [[7]])
    calls += [asyncio.create_task(batcher.share("same", 4, work.of(7))) for _ in range(50)]
    await asyncio.sleep(0)
    tower.gate.set()
    encoded = await asyncio.gather(*calls)
    assert tower.computed == work.begun == [7]
    assert {each.rows for each in encoded} == {rows(7)}
    assert sum(batcher.firsts) == 1


async def test_a_finished_key_is_computed_again(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    await batcher.share("a", 4, work.of(1))
    await batcher.calls.written()
    await batcher.share("a", 4, work.of(1))
    assert tower.computed == [1, 1]


async def test_a_cancelled_waiter_does_not_affect_the_others(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    work.hold.clear()
    stays, leaves = (asyncio.create_task(batcher.share("a", 4, work.of(1))) for _ in range(2))
    await until(lambda: work.begun == [1])
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    work.hold.set()
    assert (await stays).rows == rows(1)
    assert leaves.cancelled()


async def test_the_first_flag_goes_to_a_remaining_waiter(batcher: SharingBatcher, work: Preparations) -> None:
    work.hold.clear()
    leader = asyncio.create_task(batcher.share("a", 4, work.of(1)))
    await until(lambda: work.begun == [1])
    follower = asyncio.create_task(batcher.share("a", 4, work.of(1)))
    await asyncio.sleep(0)
    leader.cancel()
    work.hold.set()
    await follower
    assert batcher.firsts == [True]


async def test_a_computation_without_waiters_is_cancelled_before_it_begins(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    work.hold.clear()
    calls = [asyncio.create_task(batcher.share("a", 4, work.of(1))) for _ in range(3)]
    await until(lambda: work.begun == [1])
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    work.hold.set()
    await batcher.share("b", 4, work.of(2))
    assert tower.computed == [2]
    assert (batcher.waiting, batcher._limiter.held) == (0, 0)


async def test_an_abandoned_image_is_left_out_of_the_batch(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.gate.clear()
    busy = asyncio.create_task(batcher.share("busy", 4, work.of(1)))
    await until(lambda: tower.batches == [[1]])
    gone = asyncio.create_task(batcher.share("gone", 4, work.of(2)))
    stays = asyncio.create_task(batcher.share("stays", 4, work.of(3)))
    await until(lambda: len(batcher._ready) == 2)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    tower.gate.set()
    await asyncio.gather(busy, stays)
    assert tower.computed == [1, 3]
    assert batcher._limiter.held == 0


async def test_a_started_computation_finishes_for_later_callers(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.gate.clear()
    leaves = asyncio.create_task(batcher.share("a", 4, work.of(1)))
    await until(lambda: tower.batches == [[1]])
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    comes = asyncio.create_task(batcher.share("a", 4, work.of(1)))
    await asyncio.sleep(0)
    tower.gate.set()
    assert (await comes).rows == rows(1)
    assert tower.computed == [1]


async def test_hundreds_of_cancelled_calls_leave_nothing_behind(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    for turn in range(300):
        call = asyncio.create_task(batcher.share(turn % 5, 4, work.of(turn % 5)))
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await until(lambda: not batcher.calls and not batcher._images and not batcher._ready)
    await until(lambda: batcher._limiter.held == 0)
    assert (await batcher.share("b", 4, work.of(9))).rows == rows(9)


async def test_a_full_queue_is_refused_with_a_retry_delay(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    work.hold.clear()
    calls = [asyncio.create_task(batcher.share(i, 4, work.of(i))) for i in range(8)]
    await until(lambda: batcher.waiting == 8)
    with pytest.raises(EncoderBusy) as caught:
        await batcher.share("more", 4, work.of(99))
    assert caught.value.retry_after_s
    assert caught.value.metadata == {"field": "max_queue", "limit": "8", "actual": "9"}
    joins = asyncio.create_task(batcher.share(0, 4, work.of(0)))
    work.hold.set()
    await asyncio.gather(*calls, joins)
    assert 99 not in work.begun


async def test_preparation_errors_reach_all_waiters_of_the_key_only(
    batcher: SharingBatcher, work: Preparations
) -> None:
    work.errors[1] = ImageCorrupt("PNG")
    bad = [batcher.share("bad", 4, work.of(1)) for _ in range(3)]
    results = await asyncio.gather(*bad, batcher.share("good", 4, work.of(2)), return_exceptions=True)
    assert all(isinstance(result, ImageCorrupt) for result in results[:3])
    assert results[3].rows == rows(2)
    assert batcher._limiter.held == 0


async def test_a_bad_image_does_not_fail_the_rest_of_its_batch(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.broken[2] = RuntimeError("secret of the device 0xdeadbeef")
    calls = [batcher.share(i, 4, work.of(i)) for i in (1, 2, 3)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[1], EncodeFailed)
    assert "secret" not in str(results[1])
    assert [results[0].rows, results[2].rows] == [rows(1), rows(3)]
    assert batcher.healthy
    assert batcher._limiter.held == 0


async def test_rows_that_are_not_finite_are_reported(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.broken[2] = RowsNotFinite("the image", 4, RowDtype.FP16)
    results = await asyncio.gather(
        *(batcher.share(i, 4, work.of(i)) for i in (1, 2, 3)), return_exceptions=True
    )
    assert isinstance(results[1], RowsNotFinite)
    assert [results[0].rows, results[2].rows] == [rows(1), rows(3)]


async def test_a_failed_key_is_computed_again_on_the_next_call(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.broken[1] = RuntimeError("out of memory")
    with pytest.raises(EncodeFailed):
        await batcher.share("a", 4, work.of(1))
    tower.broken.clear()
    assert (await batcher.share("a", 4, work.of(1))).rows == rows(1)


@pytest.mark.parametrize("death", [TowerFailed(), SystemExit(1), KeyboardInterrupt()])
async def test_a_failed_tower_fails_current_and_later_callers(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations, death: BaseException
) -> None:
    tower.gate.clear()
    tower.broken[1] = death
    calls = [asyncio.create_task(batcher.share(i, 16, work.of(i, 16))) for i in range(1, 5)]
    await until(lambda: tower.batches == [[1]])
    tower.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, TowerFailed) for result in results)
    assert not batcher.healthy
    async with asyncio.timeout(10):
        assert isinstance(await batcher.died(), TowerFailed)
    with pytest.raises(TowerFailed):
        await batcher.share("later", 4, work.of(9))


async def test_closing_leaves_no_waiters(tower: FakeTower, work: Preparations) -> None:
    closing = SharingBatcher(tower, LIMITS)
    closing.start()
    work.hold.clear()
    call = asyncio.create_task(closing.share("a", 4, work.of(1)))
    await until(lambda: work.begun == [1])
    await closing.close()
    with pytest.raises(TowerFailed):
        await call
    assert not closing.healthy


async def test_a_batcher_that_was_not_started_refuses(tower: FakeTower, work: Preparations) -> None:
    with pytest.raises(TowerFailed):
        await SharingBatcher(tower, LIMITS).share("a", 4, work.of(1))


async def test_saliency_and_kept_indices_return_with_the_rows(batcher: SharingBatcher) -> None:
    kept = np.array([1, 4], np.int32)

    async def prepare() -> PreparedImage:
        return PreparedImage(Patches(np.ones((8, 2), np.float32), (1, 4, 4), kept), 0.0, 0.0)

    encoded = await batcher.share("a", 16, prepare, saliency=True)
    assert encoded.kept is kept
    assert encoded.saliency is not None


async def test_calls_with_and_without_saliency_share_no_tower_call(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    calls = (batcher.share(i, 4, work.of(i), saliency=i == 2) for i in (1, 2, 3))
    encoded = await asyncio.gather(*calls)
    assert tower.batches == [[1], [2], [3]]
    assert [each.saliency is not None for each in encoded] == [False, True, False]


async def test_a_batch_is_limited_by_its_kept_patches(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    """Four images that could have 12 patches each, and have 4: a single call of 16."""
    await asyncio.gather(*(batcher.share(i, 12, work.of(i, 4)) for i in range(4)))
    assert tower.batches == [[0, 1, 2, 3]]


SOON_S = 1.0
"""Before it passes, a busy machine must have queued the image."""


def deadlined(work: Preparations, name: int, left_s: float, count: int = 4, tenant: str = "") -> QueuedImage:
    return QueuedImage(count, work.of(name, count), tenant=tenant, deadline=time.monotonic() + left_s)


async def test_an_image_that_would_wait_too_long_is_refused_at_once(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    batcher._rate.note(4, 10.0)
    tower.gate.clear()
    first = asyncio.create_task(batcher.encode(deadlined(work, 1, 1.0)))  # finds an idle tower, and may try
    await until(lambda: tower.batches == [[1]])
    with pytest.raises(EncoderBusy) as refused:
        await batcher.encode(deadlined(work, 2, 16.0))
    assert refused.value.metadata["field"] == "wait_s"
    assert refused.value.retry_after_s == pytest.approx(10.0)
    patient = asyncio.create_task(batcher.encode(deadlined(work, 3, 300.0)))
    await until(lambda: work.begun == [1, 3])
    tower.gate.set()
    await asyncio.gather(first, patient)


async def test_an_image_whose_deadline_has_passed_never_reaches_the_tower(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    """It waits in the queue, or prepared: both are held behind a tower that does not return."""
    tower.gate.clear()
    full = [asyncio.create_task(batcher.encode(deadlined(work, n, 300.0, 16))) for n in (1, 2, 3)]
    prepared = asyncio.create_task(batcher.encode(deadlined(work, 4, SOON_S, 16)))
    await until(lambda: len(work.begun) == 4)
    queued = asyncio.create_task(batcher.encode(deadlined(work, 5, SOON_S, 16)))
    with pytest.raises(DeadlineUnreachable) as late:
        async with asyncio.timeout(30):
            await queued
    assert late.value.retry_after_s
    tower.gate.set()
    with pytest.raises(DeadlineUnreachable):
        await prepared
    await asyncio.gather(*full)
    assert tower.computed == [1, 2, 3]
    assert 5 not in work.begun
    assert batcher._limiter.held == 0


async def test_a_later_caller_extends_the_deadline_of_a_shared_image(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    tower.gate.clear()
    full = [asyncio.create_task(batcher.encode(deadlined(work, n, 300.0, 16))) for n in range(1, 5)]
    await until(lambda: len(work.begun) == 4)
    image = deadlined(work, 5, SOON_S, 16)
    shared = asyncio.create_task(batcher.encode(image))
    await asyncio.sleep(0)
    image.extend(time.monotonic() + 300)
    await asyncio.sleep(1.2 * SOON_S)
    tower.gate.set()
    assert (await shared).rows == rows(5, 16)
    await asyncio.gather(*full)


@pytest.mark.parametrize("turns", range(8))
async def test_an_image_that_leaves_as_its_preparation_begins_holds_no_patches(
    batcher: SharingBatcher, work: Preparations, turns: int
) -> None:
    """In one of these turns of the loop, the preparation is cancelled before its first step."""
    work.hold.clear()
    first = asyncio.create_task(batcher.encode(deadlined(work, 1, 300.0, 64)))
    await until(lambda: work.begun == [1])
    second = asyncio.create_task(batcher.encode(deadlined(work, 2, 300.0, 64)))
    await asyncio.sleep(0)
    first.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await until(lambda: batcher._limiter.held == 0)


async def test_a_flood_of_images_delays_another_tenant_by_a_single_image(
    batcher: SharingBatcher, tower: FakeTower, work: Preparations
) -> None:
    """Beyond the patches that are prepared already, which leave in the order in which they came."""
    tower.gate.clear()
    flood = [asyncio.create_task(batcher.encode(deadlined(work, n, 300.0, 16, "flood"))) for n in range(1, 8)]
    await until(lambda: len(work.begun) == 4)
    small = asyncio.create_task(batcher.encode(deadlined(work, 9, 300.0, 16, "small")))
    await asyncio.sleep(0)
    tower.gate.set()
    await asyncio.gather(*flood, small)
    assert tower.batches.index([9]) <= 5


async def test_a_tenant_has_at_most_its_images_in_the_batcher(tower: FakeTower, work: Preparations) -> None:
    batcher = SharingBatcher(tower, replace(LIMITS, max_tenant_images=2))
    batcher.start()
    tower.gate.clear()
    held = [asyncio.create_task(batcher.encode(deadlined(work, n, 300.0, tenant="a"))) for n in (1, 2)]
    await until(lambda: len(work.begun) == 2)
    with pytest.raises(TenantBusy) as refused:
        async with asyncio.timeout(10):
            await batcher.encode(deadlined(work, 3, 300.0, tenant="a"))
    assert refused.value.metadata == {"field": "max_tenant_images", "limit": "2", "actual": "3"}
    other = asyncio.create_task(batcher.encode(deadlined(work, 4, 300.0, tenant="b")))
    tower.gate.set()
    await asyncio.gather(*held, other)
    await batcher.encode(deadlined(work, 5, 300.0, tenant="a"))
    await batcher.close()


async def test_a_dummy_needs_no_room_and_no_figure_counts_it(
    batcher: SharingBatcher, work: Preparations
) -> None:
    """All room is held by images whose preparation takes long, and the queue is full."""
    work.hold.clear()
    calls = [asyncio.create_task(batcher.share(n, 16, work.of(n, 16))) for n in range(8)]
    await until(lambda: batcher.waiting == 8)
    before = batcher.load()

    async def prepared() -> PreparedImage:
        assert batcher.load() == before
        return PreparedImage(patches(9), decode_ms=0.0, preprocess_ms=0.0)

    batcher._rate.note(1000, 1.0)
    for _ in range(30):
        assert (await batcher.encode(QueuedImage(0, prepared, dummy=True))).rows == rows(9)
    assert batcher.load() == before
    assert batcher._rate.seconds(1000) == pytest.approx(1.0), "dummies say nothing of the speed of images"
    work.hold.set()
    await asyncio.gather(*calls)
    assert batcher._limiter.held == 0
