"""The encoder on a real store, with a counting decoder and a counting tower."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from encoder_svc.images.decode import PIXELS_REVISION
from encoder_svc.store.core import Facts, Put
from encoder_svc.store.keys import UploadKey
from fovea.contract.errors import ImageNotStored
from fovea.contract.plan import EncodePlan
from tests.encoder.images.files import encoded, picture
from tests.encoder.parts import TENANT, Parts, running

PLAIN = EncodePlan()


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with running(tmp_path / "store") as made:
        yield made


async def test_a_hit_never_decodes_the_image(parts: Parts) -> None:
    stored = await parts.keep(TENANT, encoded(picture(96, 64)))
    missed = await parts.encoder.encode(TENANT, stored.facts.digest, PLAIN, "")
    await parts.encoder.written()
    decodes = parts.decoder.decodes
    hits = await asyncio.gather(
        *(parts.encoder.encode(TENANT, stored.facts.digest, PLAIN, "") for _ in range(4))
    )
    assert (missed.origin, {hit.origin for hit in hits}) == ("encoded", {"rows"})
    assert (decodes, parts.decoder.decodes) == (2, 2), "once for the upload, once for the miss"
    assert {bytes(hit.rows.data) for hit in hits} == {bytes(missed.rows.data)}
    assert (parts.tower.computed, parts.tower.with_saliency, parts.ranked) == ([1], [False], [])


async def test_rows_whose_caller_leaves_while_the_tower_runs_are_stored(parts: Parts) -> None:
    stored = await parts.keep(TENANT, encoded(picture(96, 64)))
    parts.tower.gate.clear()
    call = asyncio.create_task(parts.encoder.encode(TENANT, stored.facts.digest, PLAIN, ""))
    async with asyncio.timeout(10):
        while not parts.encoder.cache.batcher.running:
            await asyncio.sleep(0.002)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    parts.tower.gate.set()
    await parts.encoder.written()
    assert (await parts.encoder.encode(TENANT, stored.facts.digest, PLAIN, "")).origin == "rows"
    assert parts.tower.computed == [1]


async def test_another_plan_of_the_image_is_decoded_again(parts: Parts) -> None:
    stored = await parts.keep(TENANT, encoded(picture(960, 640)))
    for max_pixels in (65_536, 131_072):
        await parts.encoder.encode(TENANT, stored.facts.digest, EncodePlan(max_pixels), "")
    assert (parts.decoder.decodes, parts.tower.computed) == (3, [1, 1])


async def test_facts_of_an_older_pixels_revision_are_not_used(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client uploads the image again, which measures it anew; its rows are a hit by their pixels."""
    data = encoded(picture(96, 64))
    monkeypatch.setattr("encoder_svc.uploads.PIXELS_REVISION", PIXELS_REVISION - 1)
    before = await parts.keep(TENANT, data)
    await parts.encoder.encode(TENANT, before.facts.digest, PLAIN, "")
    await parts.encoder.written()
    monkeypatch.undo()
    with pytest.raises(ImageNotStored):
        await parts.encoder.encode(TENANT, before.facts.digest, PLAIN, "")
    again = await parts.keep(TENANT, data)
    served = await parts.encoder.encode(TENANT, again.facts.digest, PLAIN, "")
    assert served.origin == "rows"


async def test_facts_that_another_version_measured_are_not_used(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a downgrade: the image is stored with a fact that this version does not know, or lacks a fact."""

    async def keep_with(change: Callable[[dict[str, object]], object]) -> str:
        put_upload = parts.store.put_upload

        def put(key: UploadKey, data: bytes, facts: Facts) -> Put:
            changed: dict[str, Any] = dict(facts)
            change(changed)
            return put_upload(key, data, changed)

        with monkeypatch.context() as patched:
            patched.setattr(parts.store, "put_upload", put)
            return (await parts.keep(TENANT, encoded(picture(96, 64)))).facts.digest

    assert await parts.uploads.find(TENANT, await keep_with(lambda facts: None))
    before_the_gate = await parts.uploads.find(
        TENANT, await keep_with(lambda facts: facts.pop("kind_confidence"))
    )
    assert before_the_gate is not None
    assert before_the_gate.facts.kind_confidence == 0
    for change in (lambda facts: facts.update(novelty=1.0), lambda facts: facts.pop("edge_density")):
        digest = await keep_with(change)
        with pytest.raises(ImageNotStored):
            await parts.uploads.describe(TENANT, digest)
