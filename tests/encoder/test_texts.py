"""The text of an image is read once, kept with the image, and gone with it; each tenant has its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from encoder_svc.errors import TextReaderBusy
from encoder_svc.images.limits import ImageLimits
from encoder_svc.reading.engine import ReaderIdentity
from encoder_svc.reading.reader import ReaderLimits, TextReader
from encoder_svc.state import ServiceState
from encoder_svc.store.core import Put
from encoder_svc.tenant import Tenant
from encoder_svc.texts import Texts
from fovea.contract.errors import (
    FoveaError,
    ImageNotStored,
    TextNotFound,
    TextReaderMissing,
    TextTooCostly,
)
from fovea.contract.image import ImageKind
from fovea.contract.rows import digest
from fovea.contract.text import ImageText
from fovea.nursery.limits import ChildLimits
from tests.decoder.native_engine.harness import until
from tests.encoder.parts import TENANT, Parts, running
from tests.encoder.reading.faulty_reader import marked

OTHER = Tenant.of("other")
CHILD = ChildLimits(cpu_s=600, memory_bytes=1 << 30)
FAULTY = "tests.encoder.reading.faulty_reader"
LIMITS = ReaderLimits()
IDENTITY = ReaderIdentity("faulty", "1")


@dataclass
class Reading:
    texts: Texts
    parts: Parts
    read: list[ImageText | FoveaError]
    """What has been read, in order."""

    async def put(self, do: str, tenant: Tenant = TENANT) -> str:
        data = marked(do)
        await self.parts.keep(tenant, data)
        return digest(data)

    def again(self, identity: ReaderIdentity = IDENTITY, child: ChildLimits = CHILD) -> Texts:
        """Another process's view of the same store, with a reader of its own."""
        reader = TextReader(identity, ImageLimits(), ReaderLimits(), child, FAULTY)
        return Texts(self.parts.store, self.parts.uploads, reader, self.parts.permits, self.read.append)

    @property
    def stored_bytes(self) -> int:
        return self.parts.store.total().uploads.bytes


@asynccontextmanager
async def reading(
    folder: Path, limits: ReaderLimits = LIMITS, child: ChildLimits = CHILD
) -> AsyncIterator[Reading]:
    async with running(folder / "store") as parts:
        reader, read = (
            TextReader(IDENTITY, ImageLimits(), limits, child, FAULTY),
            list[ImageText | FoveaError](),
        )
        texts = Texts(parts.store, parts.uploads, reader, parts.permits, read.append)
        try:
            yield Reading(texts, parts, read)
        finally:
            await texts.close()


async def test_an_image_is_read_once(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put("Total 12")
        first = await here.texts.read(TENANT, image)
        await here.texts._readings.written()
        second = await here.texts.read(TENANT, image)
        assert (first.stored, second.stored) == (False, True)
        assert first.lines == second.lines
        assert second.cpu_ms == pytest.approx(first.cpu_ms, abs=0.001)
        assert len(here.read) == 1
        other = here.again()
        assert (await other.read(TENANT, image)).stored
        await other.close()
        assert len(here.read) == 1


@pytest.mark.long
async def test_an_image_without_text_is_read_once_too(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put("EMPTY")
        for _ in range(2):
            with pytest.raises(TextNotFound):
                await here.texts.read(TENANT, image)
            await here.texts._readings.written()
        assert len(here.read) == 1


@pytest.mark.long
async def test_another_version_of_the_reader_reads_again(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put("Total 12")
        await here.texts.read(TENANT, image)
        await here.texts._readings.written()
        newer = here.again(ReaderIdentity("faulty", "2"))
        assert (await newer.read(TENANT, image)).version == "2"
        await newer.close()
        assert len(here.read) == 2


async def test_concurrent_callers_share_a_reading_which_outlives_them(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put(f"WAIT {tmp_path / 'go'}")
        calls = [asyncio.create_task(here.texts.read(TENANT, image)) for _ in range(3)]
        await until(lambda: here.texts.waiting == 1, seconds=60)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert await here.texts.find(TENANT, image) is None
        (tmp_path / "go").touch()
        await here.texts.read(TENANT, image)
        assert len(here.read) == 1


async def test_find_does_not_wait_and_has_the_image_read(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put("Total 12")
        assert await here.texts.find(TENANT, image) is None
        await until(lambda: bool(here.read), seconds=60)
        await here.texts._readings.written()
        found = await here.texts.find(TENANT, image)
        assert found is not None
        assert found.stored
        assert len(here.read) == 1


async def test_a_tenant_has_neither_the_text_nor_the_image_of_another(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put("Secret 12")
        await here.texts.read(TENANT, image)
        await here.texts._readings.written()
        with pytest.raises(ImageNotStored):
            await here.texts.read(OTHER, image)
        await here.put("Secret 12", OTHER)
        assert not (await here.texts.read(OTHER, image)).stored, (
            "its time would tell that another tenant has it"
        )
        assert len(here.read) == 2


async def test_text_goes_with_its_image_and_its_tenant(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image, kept = await here.put("Total 12"), await here.put("Total 13")
        uploads = here.stored_bytes
        for digest in (image, kept):
            await here.texts.read(TENANT, digest)
        await here.texts._readings.written()
        with_text = here.stored_bytes
        assert with_text > uploads
        gone = await here.parts.uploads.delete(TENANT, image)
        assert gone.records == 1
        assert gone.bytes == with_text - here.stored_bytes
        assert gone.bytes * 2 == with_text
        await asyncio.to_thread(here.parts.store.delete_tenant, TENANT.uploads)
        assert here.stored_bytes == 0


async def test_the_text_of_an_image_deleted_meanwhile_is_not_stored(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put(f"WAIT {tmp_path / 'go'}")
        call = asyncio.create_task(here.texts.read(TENANT, image))
        await until(lambda: here.texts.waiting == 1, seconds=60)
        await here.parts.uploads.delete(TENANT, image)
        await here.texts.delete(TENANT, image)
        (tmp_path / "go").touch()
        await call
        await here.texts._readings.written()
        assert here.stored_bytes == 0


async def test_a_deletion_waits_for_text_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the state of the service, in the order in which it deletes."""
    async with reading(tmp_path) as here:
        writing, go = threading.Event(), threading.Event()
        put = here.parts.store.put_upload_sidecar

        def slow(*arguments: Any) -> Put:
            writing.set()
            assert go.wait(60)
            return put(*arguments)

        monkeypatch.setattr(here.parts.store, "put_upload_sidecar", slow)
        image = await here.put("Total 12")
        await here.texts.read(TENANT, image)
        assert await asyncio.to_thread(writing.wait, 60)
        description: Any = None
        state = ServiceState(description, here.parts.permits)
        state.open_store(here.parts.store, here.parts.uploads, here.texts)
        deletion = asyncio.create_task(state.delete(TENANT, image))
        await until(lambda: here.parts.store.total().uploads.records == 0, seconds=60)
        assert not deletion.done()
        go.set()
        await deletion
        assert here.stored_bytes == 0


async def test_text_that_outlived_its_upload_is_deleted_by_id(tmp_path: Path) -> None:
    """An eviction may take the upload and leave its text."""
    async with reading(tmp_path) as here:
        image = await here.put("Total 12")
        await here.texts.read(TENANT, image)
        await here.texts._readings.written()
        key = here.parts.uploads.key(TENANT, image)
        with here.parts.store._env.write() as txn:
            here.parts.store._env.partitions["uploads"].remove(txn, key.raw)
        assert here.stored_bytes > 0
        assert (await here.texts.delete(TENANT, image)).bytes > 0
        assert here.stored_bytes == 0


async def test_uploads_alone_are_listed_as_uploads(tmp_path: Path) -> None:
    async with reading(tmp_path) as here:
        image = await here.put("Total 12")
        await here.texts.read(TENANT, image)
        await here.texts._readings.written()
        facts = here.parts.store.upload_facts(TENANT.uploads)
        assert [each["digest"] for each in facts] == [image]
        assert here.parts.store.total().uploads.records == 1


async def test_a_full_queue_refuses_and_a_tenant_has_half_of_it(tmp_path: Path) -> None:
    async with reading(tmp_path, ReaderLimits(max_queue=3)) as here:
        images = [await here.put(f"WAIT {tmp_path / 'go'} {at}") for at in range(3)]
        others = [await here.put(f"WAIT {tmp_path / 'go'} {at}", OTHER) for at in range(3)]
        calls = [asyncio.create_task(here.texts.read(TENANT, images[0]))]
        await until(lambda: here.texts.waiting == 1, seconds=60)
        with pytest.raises(TextReaderBusy) as caught:
            await here.texts.read(TENANT, images[1])
        assert caught.value.metadata == {"field": "max_text_queue", "limit": "1", "actual": "1"}
        assert caught.value.retry_after_s
        calls.append(asyncio.create_task(here.texts.read(OTHER, others[0])))
        await until(lambda: here.texts.waiting == 2, seconds=60)
        third = Tenant.of("third")
        await here.put(f"WAIT {tmp_path / 'go'} 0", third)
        calls.append(asyncio.create_task(here.texts.read(third, images[0])))
        await until(lambda: here.texts.waiting == 3, seconds=60)
        await here.put("Total", fourth := Tenant.of("fourth"))
        with pytest.raises(TextReaderBusy) as caught:
            await here.texts.read(fourth, digest(marked("Total")))
        assert caught.value.metadata["limit"] == "3"
        (tmp_path / "go").touch()
        await asyncio.gather(*calls)
        assert here.texts.waiting == 0


async def test_a_failure_is_told_to_every_caller_and_counted(tmp_path: Path) -> None:
    async with reading(tmp_path, child=ChildLimits(0.2, 1 << 30)) as here:
        image = await here.put("LOOP")
        with pytest.raises(TextTooCostly):
            await here.texts.read(TENANT, image)
        assert [type(each) for each in here.read] == [TextTooCostly]
        assert here.texts.waiting == 0


@pytest.mark.parametrize(
    ("setting", "kind", "already", "read"),
    [
        (True, ImageKind.TEXT, False, True),
        (False, ImageKind.TEXT, False, False),
        (True, ImageKind.GRAPHIC, False, False),
        (True, ImageKind.TEXT, True, False),
    ],
)
async def test_new_images_of_text_are_read_in_the_background_if_the_setting_says_so(
    tmp_path: Path, setting: bool, kind: ImageKind, already: bool, read: bool
) -> None:
    async with reading(tmp_path) as here:
        description: Any = SimpleNamespace(reads_uploads=setting)
        state = ServiceState(description, here.parts.permits)
        state.open_store(here.parts.store, here.parts.uploads, here.texts)
        image = await here.put("Total 12")
        stored = await here.parts.uploads.describe(TENANT, image)
        state.note_upload(TENANT, replace(stored, facts=replace(stored.facts, kind=kind), already=already))
        assert bool(here.texts._background) == read
        if read:
            await until(lambda: bool(here.read), seconds=60)


async def test_without_a_reader_calls_say_which_is_missing(tmp_path: Path) -> None:
    async with running(tmp_path / "store") as parts:
        missing = TextReaderMissing("rapidocr", "rapidocr not installed; the extra `ocr` has them")
        texts = Texts(parts.store, parts.uploads, missing, parts.permits, lambda result: None)
        for call in (texts.read, texts.find):
            with pytest.raises(TextReaderMissing, match="extra `ocr`") as caught:
                await call(TENANT, digest(b""))
            assert caught.value is not missing
        await texts.close()
