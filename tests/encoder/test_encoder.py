"""The encoder on a real store, with a decoder and a tower that count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from encoder_svc.store.core import Grown
from encoder_svc.store.facts import Fields
from encoder_svc.store.keys import RowKey
from fovea.plan import RowPlan
from tests.encoder.images.files import encoded, picture
from tests.encoder.parts import Parts, running

PLAIN = RowPlan()


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
    assert (missed.source, {hit.source for hit in hits}) == ("encoded", {"rows"})
    assert (decodes, parts.decoder.decodes) == (2, 2), "once for the upload, once for the miss"
    assert {bytes(hit.rows.data) for hit in hits} == {bytes(missed.rows.data)}
    assert (parts.tower.computed, parts.tower.with_saliency, parts.ranked) == ([1], [False], [])


async def test_another_plan_of_the_image_is_decoded_again(parts: Parts) -> None:
    stored = await parts.encoder.uploads.keep(encoded(picture(960, 640)))
    for max_pixels in (65_536, 131_072):
        await parts.encoder.encode(stored.facts.digest, RowPlan(max_pixels), "")
    assert (parts.decoder.decodes, parts.tower.computed) == (3, [1, 1])


async def test_damage_that_is_found_while_rows_go_out_costs_an_encode_and_no_answer(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store tells of half of the rows, and then that the rest is damaged."""
    stored = await parts.encoder.uploads.keep(encoded(picture(960, 640)))
    missed = await parts.encoder.encode(stored.facts.digest, PLAIN, "")
    await parts.encoder.written()
    data, half = bytes(missed.rows.data), len(missed.rows.data) // 2

    def get(key: RowKey, fields: Fields, grown: Grown | None = None) -> None:
        rest = bytes(len(data) - half)
        if grown is not None:
            grown(replace(missed.rows, data=memoryview(bytearray(data[:half] + rest))), half)

    monkeypatch.setattr(parts.store, "get", get)
    hit = await parts.encoder.encode(stored.facts.digest, PLAIN, "")
    assert (hit.source, bytes(hit.rows.data[:half])) == ("rows", data[:half])
    assert hit.arriving is not None
    whole = await parts.encoder.sent(hit)
    assert (whole.rows.digest, bytes(whole.rows.data)) == (missed.rows.digest, data)
    assert parts.tower.computed == [1, 1]
