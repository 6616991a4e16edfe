"""The encoder on a real store, with a decoder and a tower that count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fovea.contract.plan import EncodePlan
from tests.encoder.images.files import encoded, picture
from tests.encoder.parts import Parts, running

PLAIN = EncodePlan()


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with running(tmp_path / "store") as made:
        yield made


async def test_a_hit_never_decodes_the_image(parts: Parts) -> None:
    stored = await parts.encoder.uploads.keep(encoded(picture(96, 64)))
    missed = await parts.encoder.encode(stored.facts.digest, PLAIN, "")
    await parts.encoder.written()
    decodes = parts.decoder.decodes
    hits = await asyncio.gather(*(parts.encoder.encode(stored.facts.digest, PLAIN, "") for _ in range(4)))
    assert (missed.origin, {hit.origin for hit in hits}) == ("encoded", {"rows"})
    assert (decodes, parts.decoder.decodes) == (2, 2), "once for the upload, once for the miss"
    assert {bytes(hit.rows.data) for hit in hits} == {bytes(missed.rows.data)}
    assert (parts.tower.computed, parts.tower.with_saliency, parts.ranked) == ([1], [False], [])


async def test_another_plan_of_the_image_is_decoded_again(parts: Parts) -> None:
    stored = await parts.encoder.uploads.keep(encoded(picture(960, 640)))
    for max_pixels in (65_536, 131_072):
        await parts.encoder.encode(stored.facts.digest, EncodePlan(max_pixels), "")
    assert (parts.decoder.decodes, parts.tower.computed) == (3, [1, 1])
