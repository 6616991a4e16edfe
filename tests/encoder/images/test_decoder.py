"""Images are decoded in workers that may die: the service goes on, and tries no image a third time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_svc.errors import DecodingUnavailable
from encoder_svc.images import refused
from encoder_svc.images.decode import decode
from encoder_svc.images.decoder import WORKER, Decoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.refused import EXPIRY_S, RefusedImages
from encoder_svc.store.keys import UploadKey, tenant_id
from fovea.contract.errors import (
    FoveaError,
    ImageCrashesDecoder,
    ImageTooCostly,
)
from fovea.contract.rows import digest
from fovea.nursery.limits import ChildLimits
from tests.decoder.native_engine.harness import until
from tests.encoder.images.files import BOMBS, encoded, picture

LIMITS = ImageLimits()
AMPLE = ChildLimits(cpu_s=600, memory_bytes=1 << 30)
FAULTY = "tests.encoder.images.faulty_worker"
GOOD = encoded(picture())
SEGFAULT = b"SIGNAL 11"


def key(data: bytes, tenant: str = "default") -> UploadKey:
    return UploadKey.of(tenant_id(tenant), digest(data))


def children(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def decoding(
    child: ChildLimits = AMPLE, workers: int = 2, module: str = FAULTY
) -> AsyncIterator[Decoder]:
    with closing(Decoder(LIMITS, child, workers, module)) as decoder:
        yield decoder


async def refusal(decoder: Decoder, data: bytes, tenant: str = "default") -> FoveaError:
    with pytest.raises(FoveaError) as caught:
        await decoder.facts(key(data, tenant), data)
    return caught.value


async def worker_of(decoder: Decoder, data: bytes) -> tuple[asyncio.Task[Any], int]:
    """A call whose worker is busy, and the worker."""
    call = asyncio.create_task(decoder.facts(key(data), data))
    await until(lambda: bool(children(decoder.nursery_pid)), seconds=60)
    return call, children(decoder.nursery_pid)[0]


async def test_a_worker_returns_what_decode_returns() -> None:
    files = [encoded(picture(200, 100), format) for format in LIMITS.formats]
    async with decoding(module=WORKER) as decoder:
        for data in files:
            expected = decode(data, LIMITS)
            assert await decoder.facts(key(data), data) == expected.facts
            assert np.array_equal(await decoder.pixels(key(data), data), expected.rgb)
        assert len(children(decoder.nursery_pid)) == 1, "a warm worker serves callers in turn"


async def test_refusals_arrive_as_they_were_raised_and_cost_no_worker() -> None:
    async with decoding(module=WORKER) as decoder:
        await decoder.facts(key(GOOD), GOOD)
        before = children(decoder.nursery_pid)
        for data in (b"", b"junk", GOOD[:90], *BOMBS.values()):
            with pytest.raises(FoveaError) as expected:
                decode(data, LIMITS)
            error = await refusal(decoder, data)
            assert type(error) is type(expected.value)
            assert (error.message, error.metadata, error.violations) == (
                expected.value.message,
                expected.value.metadata,
                expected.value.violations,
            )
        assert children(decoder.nursery_pid) == before


@pytest.mark.parametrize(
    ("data", "child", "what", "limit"),
    [
        (b"LOOP", ChildLimits(0.2, 1 << 30), "seconds of CPU", "0.2"),
        (b"ALLOCATE", ChildLimits(600, 1 << 26), "bytes of memory", f"{1 << 26:g}"),
    ],
)
async def test_an_image_above_a_limit_is_refused_by_its_name_and_the_third_time_without_a_worker(
    data: bytes, child: ChildLimits, what: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea.nursery.limits._PATIENCE_S", 3600.0)  # the kernel ends it, not the caller
    async with decoding(child) as decoder:
        for deaths in ("1", "2", "2"):
            error = await refusal(decoder, data)
            assert isinstance(error, ImageTooCostly)
            assert (error.metadata["what"], error.metadata["limit"]) == (what, limit)
            assert error.metadata["deaths"] == deaths
        assert [violation.field for violation in error.violations] == ["data"]
        assert (await decoder.facts(key(GOOD), GOOD)).format == "PNG"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGBUS])
async def test_an_image_that_crashes_two_workers_is_refused_without_a_third(number: int) -> None:
    data = f"SIGNAL {number}".encode()
    async with decoding() as decoder:
        error = await refusal(decoder, data)
        assert isinstance(error, ImageCrashesDecoder)
        assert error.metadata == {"deaths": "2"}
        os.kill(decoder.nursery_pid or 0, signal.SIGSTOP)  # now nothing forks a worker
        assert isinstance(await refusal(decoder, data), ImageCrashesDecoder)
        os.kill(decoder.nursery_pid or 0, signal.SIGCONT)
        assert (await decoder.facts(key(GOOD), GOOD)).format == "PNG"


async def test_an_image_whose_worker_was_killed_by_another_is_decoded(tmp_path: Path) -> None:
    data = f"SIGNAL 9 ONCE {tmp_path / 'killed'}".encode()
    async with decoding() as decoder:
        assert (await decoder.facts(key(data), data)).byte_size == len(data)
    assert (tmp_path / "killed").exists()


async def test_an_idle_worker_that_died_is_replaced() -> None:
    async with decoding() as decoder:
        await decoder.facts(key(GOOD), GOOD)
        (pid,) = children(decoder.nursery_pid)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not decoder._idle[0].alive, seconds=60)
        await decoder.facts(key(GOOD), GOOD)
        assert not decoder._refused._records, "no image is blamed"


async def test_an_image_of_one_tenant_is_not_refused_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async with decoding() as decoder:
        await refusal(decoder, SEGFAULT)
        tried: list[bytes] = []
        real = decoder._turn
        monkeypatch.setattr(decoder, "_turn", lambda data, reply: tried.append(data) or real(data, reply))
        await refusal(decoder, SEGFAULT, "other")
        assert tried == [SEGFAULT] * 2
        await refusal(decoder, SEGFAULT)
        assert tried == [SEGFAULT] * 2


async def test_a_caller_that_leaves_has_its_worker_killed_and_its_image_not_blamed() -> None:
    async with decoding(workers=1) as decoder:
        call, pid = await worker_of(decoder, b"LOOP")
        call.cancel()
        await until(lambda: not Path(f"/proc/{pid}").exists(), seconds=60)
        assert (await decoder.facts(key(GOOD), GOOD)).format == "PNG", "its place is free"
        assert not decoder._refused._records


async def test_a_deadline_kills_the_worker() -> None:
    async with decoding(workers=1) as decoder:
        call, pid = await worker_of(decoder, b"LOOP")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.01)
        await until(lambda: not Path(f"/proc/{pid}").exists(), seconds=60)


async def test_other_images_are_decoded_while_a_worker_is_busy() -> None:
    async with decoding(workers=2) as decoder:
        call, _ = await worker_of(decoder, b"LOOP")
        assert (await decoder.facts(key(GOOD), GOOD)).format == "PNG"
        assert not call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


@pytest.mark.long
async def test_a_nursery_that_was_killed_is_started_anew() -> None:
    async with decoding() as decoder:
        call, pid = await worker_of(decoder, b"LOOP")
        first = decoder.nursery_pid
        os.kill(first or 0, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: decoder.nursery_pid not in (first, None), seconds=60)
        assert (await decoder.facts(key(GOOD), GOOD)).format == "PNG"
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def test_closing_kills_the_workers() -> None:
    async with decoding() as decoder:
        call, pid = await worker_of(decoder, b"LOOP")
        nursery = decoder.nursery_pid
    with pytest.raises(DecodingUnavailable):
        await call
    await until(lambda: not any(Path(f"/proc/{each}").exists() for each in (pid, nursery)), seconds=60)


@pytest.mark.parametrize(
    "lie",
    [
        {"width": 0},
        {"width": 1 << 40},
        {"height": "32"},
        {"byte_size": 1},
        {"digest": "sha256:" + "0" * 64},
        {"pixel_digest": "sha256:0"},
        {"format": "BMP"},
        {"exif_orientation": 9},
        {"text_height": float("nan")},
        {"kind": "SCRIPT"},
        {"kind_confidence": 1.5},
    ],
)
async def test_facts_that_cannot_be_are_no_reply(lie: dict[str, Any]) -> None:
    data = b"LIE " + json.dumps(lie).encode()
    async with decoding() as decoder:
        assert isinstance(await refusal(decoder, data), ImageCrashesDecoder)


async def test_a_worker_is_replaced_after_its_turns_and_when_it_has_grown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The faulty worker has four turns; GROW keeps more than half of the memory that it may take."""
    async with decoding(ChildLimits(600, 1 << 28)) as decoder:
        made, real, counts = list[int](), decoder._nursery.child, list[int]()
        monkeypatch.setattr(decoder._nursery, "child", lambda: made.append(1) or real())
        for data in (GOOD, GOOD, GOOD, GOOD, b"GROW", GOOD):
            await decoder.facts(key(data), data)
            counts.append(len(made))
        assert counts == [1, 1, 1, 1, 2, 3]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_refusal_expires() -> None:
    clock = Clock()
    images = RefusedImages(AMPLE, clock)
    for _ in range(2):
        images.check(key(GOOD))
        images.record(key(GOOD), signal.SIGSEGV)
    clock.now = EXPIRY_S
    with pytest.raises(ImageCrashesDecoder):
        images.check(key(GOOD))
    clock.now += 1
    images.check(key(GOOD))
    images.record(key(GOOD), signal.SIGSEGV)
    images.check(key(GOOD))


def test_deaths_that_are_long_ago_do_not_count() -> None:
    clock = Clock()
    images = RefusedImages(AMPLE, clock)
    images.record(key(GOOD), signal.SIGSEGV)
    clock.now = EXPIRY_S + 1
    images.record(key(GOOD), signal.SIGSEGV)
    images.check(key(GOOD))


def test_refused_images_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "MAX_IMAGES", 3)
    images = RefusedImages(AMPLE, Clock())
    for number in range(10):
        images.record(key(bytes([number])), signal.SIGSEGV)
    assert [*images._records] == [key(bytes([number])) for number in (7, 8, 9)]
