"""Text is read in workers that may die: the service goes on, and tries no image a third time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from encoder_svc.errors import ReadingUnavailable
from encoder_svc.images.limits import ImageLimits
from encoder_svc.reading.engine import ReaderIdentity, find_reader
from encoder_svc.reading.reader import ReaderLimits, TextReader
from encoder_svc.reading.worker import NICENESS
from encoder_svc.store.keys import UploadKey, tenant_id
from fovea.contract.errors import (
    FoveaError,
    ImageCorrupt,
    TextReaderCrashed,
    TextReaderMissing,
    TextTooCostly,
)
from fovea.contract.rows import digest
from fovea.nursery.limits import ChildLimits
from tests.decoder.native_engine.harness import until
from tests.encoder.images.test_decoder import children
from tests.encoder.reading.faulty_reader import NO_ENGINE, marked

AMPLE = ChildLimits(cpu_s=600, memory_bytes=1 << 30)
FAULTY = "tests.encoder.reading.faulty_reader"
LIMITS = ReaderLimits()
IDENTITY = ReaderIdentity("faulty", "1")
GOOD = marked("Hello 12")


def key(data: bytes, tenant: str = "default") -> UploadKey:
    return UploadKey.of(tenant_id(tenant), digest(data))


@asynccontextmanager
async def reading(child: ChildLimits = AMPLE, limits: ReaderLimits = LIMITS) -> AsyncIterator[TextReader]:
    with closing(TextReader(IDENTITY, ImageLimits(), limits, child, FAULTY)) as reader:
        yield reader


def workers_of(reader: TextReader) -> list[int]:
    return children(reader.nursery_pid) if reader.nursery_pid else []


async def refusal(reader: TextReader, data: bytes) -> FoveaError:
    with pytest.raises(FoveaError) as caught:
        await reader.read(key(data), data)
    return caught.value


async def test_a_worker_returns_lines_and_the_time_that_they_took() -> None:
    async with reading() as reader:
        text = await reader.read(key(GOOD), GOOD)
        assert [(line.text, line.left, line.bottom) for line in text.lines] == [("Hello 12", 1, 14)]
        assert (text.reader, text.version, text.stored) == ("faulty", "1", False)
        assert text.cpu_ms >= 0


async def test_workers_have_the_lowest_priority() -> None:
    """So that reading only takes CPU time that encoding leaves."""
    async with reading() as reader:
        await reader.read(key(GOOD), GOOD)
        pids = [reader.nursery_pid or 0, *workers_of(reader)]
        assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in pids] == [NICENESS] * 2
        assert NICENESS == 19


async def test_nothing_is_started_before_the_first_image() -> None:
    async with reading() as reader:
        assert reader.nursery_pid is None


@pytest.mark.parametrize(
    ("do", "child", "what", "limit"),
    [
        ("LOOP", ChildLimits(0.2, 1 << 30), "seconds of CPU", "0.2"),
        ("ALLOCATE", ChildLimits(600, 1 << 26), "bytes of memory", f"{1 << 26:g}"),
    ],
)
async def test_an_image_above_a_limit_is_refused_by_its_name_and_the_third_time_without_a_worker(
    do: str, child: ChildLimits, what: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea.nursery.limits._PATIENCE_S", 3600.0)  # the kernel ends it, not the caller
    async with reading(child) as reader:
        data, made = marked(do), list[int]()
        real = reader._nursery.child
        monkeypatch.setattr(reader._nursery, "child", lambda: made.append(1) or real())
        for _ in range(3):
            error = await refusal(reader, data)
            assert isinstance(error, TextTooCostly)
            assert (error.metadata["what"], error.metadata["limit"]) == (what, limit)
        assert len(made) == 2
        assert (await reader.read(key(GOOD), GOOD)).lines


async def test_a_reader_that_hangs_without_using_the_cpu_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading() as reader:
        await reader.read(key(GOOD), GOOD)
        (worker,) = workers_of(reader)
        monkeypatch.setattr("fovea.nursery.limits._PATIENCE_S", 0.2)
        monkeypatch.setattr("fovea.nursery.limits._PATIENCE", 0)
        assert isinstance(await refusal(reader, marked("SLEEP")), TextTooCostly)
        await until(lambda: worker not in workers_of(reader), seconds=60)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
async def test_an_image_that_crashes_two_workers_is_refused_without_a_third(number: int) -> None:
    async with reading() as reader:
        data = marked(f"SIGNAL {number}")
        error = await refusal(reader, data)
        assert isinstance(error, TextReaderCrashed)
        assert error.metadata == {"deaths": "2"}
        os.kill(reader.nursery_pid or 0, signal.SIGSTOP)  # now nothing forks a worker
        assert isinstance(await refusal(reader, data), TextReaderCrashed)
        os.kill(reader.nursery_pid or 0, signal.SIGCONT)
        assert (await reader.read(key(GOOD), GOOD)).lines


async def test_no_more_images_are_read_at_a_time_than_there_are_workers(tmp_path: Path) -> None:
    async with reading(limits=ReaderLimits(workers=2)) as reader:
        images = [marked(f"WAIT {tmp_path / 'go'} {number}") for number in range(4)]
        calls = [asyncio.create_task(reader.read(key(data), data)) for data in images]
        await until(lambda: len(workers_of(reader)) == 2, seconds=60)
        (tmp_path / "go").touch()
        assert all(text.lines for text in await asyncio.gather(*calls))
        assert len(workers_of(reader)) == 2


async def test_a_nursery_that_was_killed_is_started_anew() -> None:
    async with reading() as reader:
        await reader.read(key(GOOD), GOOD)
        (worker,) = workers_of(reader)
        first = reader.nursery_pid
        os.kill(first or 0, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        await until(lambda: not reader._idle[0].alive, seconds=60)
        assert (await reader.read(key(GOOD), GOOD)).lines
        assert reader.nursery_pid not in (first, None)


async def test_closing_kills_the_workers() -> None:
    async with reading() as reader:
        call = asyncio.create_task(reader.read(key(GOOD), marked("SLEEP")))
        await until(lambda: bool(workers_of(reader)), seconds=60)
        pids = [reader.nursery_pid, *workers_of(reader)]
    with pytest.raises(ReadingUnavailable):
        await call
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), seconds=60)


async def test_a_damaged_image_is_refused_and_costs_no_worker() -> None:
    async with reading() as reader:
        await reader.read(key(GOOD), GOOD)
        before = workers_of(reader)
        cut = GOOD[: len(GOOD) // 2]
        assert isinstance(await refusal(reader, cut), ImageCorrupt)
        assert workers_of(reader) == before


@pytest.mark.parametrize(
    "lie",
    [
        "no JSON",
        {"a": 1},
        [{"text": "x"}],
        [{"text": "x\ny", "left": 0, "top": 0, "right": 1, "bottom": 1, "confidence": 1}],
        [{"text": "\u001b[31m", "left": 0, "top": 0, "right": 1, "bottom": 1, "confidence": 1}],
        [{"text": "x", "left": 2, "top": 0, "right": 1, "bottom": 1, "confidence": 1}],
        [{"text": "x", "left": 0, "top": 0, "right": 1, "bottom": 1, "confidence": 1.5}],
        [{"text": "x", "left": 0, "top": 0, "right": 1, "bottom": 1, "confidence": "1"}],
        [{"text": "x", "left": 0.5, "top": 0, "right": 1, "bottom": 1, "confidence": 1}],
        [{"text": 7, "left": 0, "top": 0, "right": 1, "bottom": 1, "confidence": 1}],
        [{"text": "x" * 100, "left": 0, "top": 0, "right": 1, "bottom": 1, "confidence": 1}],
    ],
)
async def test_lines_that_cannot_be_are_no_reply(lie: Any) -> None:
    body = lie if isinstance(lie, str) else json.dumps(lie)
    async with reading(limits=ReaderLimits(max_bytes=99)) as reader:
        assert isinstance(await refusal(reader, marked(f"LIE {body}")), TextReaderCrashed)


@pytest.mark.long
async def test_text_longer_than_allowed_is_refused_not_cut() -> None:
    async with reading(limits=ReaderLimits(max_bytes=len("Hello 12") - 1)) as reader:
        error = await refusal(reader, GOOD)
        assert isinstance(error, TextTooCostly)
        assert (error.metadata["what"], error.metadata["limit"]) == ("bytes of text", "7")
    async with reading(limits=ReaderLimits(max_bytes=len("Hello 12"))) as reader:
        assert (await reader.read(key(GOOD), GOOD)).lines


async def test_an_engine_that_does_not_load_is_a_missing_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_ENGINE, "1")
    async with reading() as reader:
        error = await refusal(reader, GOOD)
        assert isinstance(error, TextReaderMissing)
        assert error.metadata == {"reader": "faulty"}


def test_a_reader_that_is_off_or_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("encoder_svc.reading.engine._RAPID_PACKAGES", ("no-such-package", "onnxruntime"))
    for name, told in (("off", "off"), ("rapidocr", "no-such-package"), ("tesseract", "tesseract")):
        with pytest.raises(TextReaderMissing, match=told) as caught:
            find_reader(name)
        assert caught.value.metadata == {"reader": name}
