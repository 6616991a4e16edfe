"""Served rows equal stored rows, whatever else was in the batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoder_svc.core import RowIdentity
from encoder_svc.store.core import StoredRows, StoreLimits
from encoder_svc.store.keys import tenant_id, variant
from encoder_svc.store.store import LmdbStore
from fovea.contract.rows import RowDtype, RowLayout
from fovea.geometry import Geometry
from tests.e2e.house import House, digest_of, put_on_encoder, request, rows_of, running
from tests.e2e.pictures import picture, some
from tests.encoder.store.samples import row_keys

pytestmark = pytest.mark.timeout(300)
GRIDS = ((1, 4, 4), (1, 10, 6), (1, 4, 12), (1, 8, 2))  # of the first four pictures
TENANT = tenant_id("default")


async def served(house: House, images: list[bytes]) -> dict[str, tuple[bytes, str]]:
    """(rows, their announced digest) by the id of the image."""
    result = {}
    for data in images:
        digest = await put_on_encoder(house, data)
        rows, _, summary = await rows_of(house, digest)
        result[digest] = (rows, summary.rows_digest)
    return result


def stored(cache: Path, model: Path, fingerprint: str, layout: RowLayout) -> set[bytes]:
    """Every row record of a store, read like the encoder does. The encoder has stopped."""
    identity = RowIdentity(fingerprint, layout, "fp32", Geometry.from_checkpoint(model))
    with LmdbStore(cache, StoreLimits(256 << 20, 128 << 20)) as store:
        keys = row_keys(store, TENANT)
        fields = {variant(named): named for named in map(identity.fields, GRIDS)}
        records = [store.get(key, fields[key.variant]) for key in keys]
        assert store.stats().total.rows.failed_checks == 0
        stored = {bytes(record.data) for record in records if isinstance(record, StoredRows)}
        assert len(stored) == len(keys)
        return stored


@pytest.mark.parametrize("row_dtype", ["fp32", "bf16", "fp8"])
async def test_rows_served_equal_rows_stored_bit_for_bit(
    checkpoint: Callable[[str], Path], tmp_path: Path, row_dtype: str
) -> None:
    model, images = checkpoint("moe"), some(4)
    async with running(model, tmp_path, encoder_changes={"row_dtype": row_dtype}) as house:
        missed, hit = await served(house, images), await served(house, images)
        info = await house.info()
        answered = await house.ask(request("?", list(missed)))
        on_receipt = {image.digest: image.rows_digest for image in answered.finished.receipt.images}
        width, levels = info.layout.width, info.layout.levels
    assert missed == hit
    assert {digest_of(rows) for rows, _ in hit.values()} == {announced for _, announced in hit.values()}
    assert on_receipt == {digest: announced for digest, (_, announced) in hit.items()}
    layout = RowLayout(width, levels, RowDtype(row_dtype))
    assert stored(tmp_path, model, info.fingerprint, layout) == {rows for rows, _ in hit.values()}


@pytest.mark.long
@pytest.mark.parametrize("name", ["moe", "wide"])
async def test_a_row_alone_and_in_a_batch_agrees_within_rounding(
    checkpoint: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    """2e-5 of the largest value: sums of 1152 to 4608 fp32 products in another order, a few layers deep.

    Equal products summed in another order differ by about eps * sqrt(n), 1.2e-7 * 70, a layer; the tower and
    its mergers have about ten such sums one behind the other.
    """
    images = some(5)
    alone, together = {}, {}
    async with running(checkpoint(name), tmp_path / "alone") as house:
        for data in images:
            digest = await put_on_encoder(house, data)
            alone[digest], _, _ = await rows_of(house, digest)
    async with running(
        checkpoint(name), tmp_path / "batch", encoder_changes={"max_batch_wait_ms": 2000.0}
    ) as house:
        digests = [await put_on_encoder(house, data) for data in images]
        fetched = await asyncio.gather(*(rows_of(house, digest) for digest in digests))
        towers = {summary.timings.tower_ms for _, _, summary in fetched}
        together = {digest: rows for digest, (rows, _, _) in zip(digests, fetched, strict=True)}
    assert len(towers) < len(images), "no two images met in a batch: nothing was tested"
    worst = 0.0
    for digest in digests:
        single, many = (np.frombuffer(rows[digest], "<f4") for rows in (alone, together))
        worst = max(worst, float(np.abs(single - many).max() / np.abs(single).max()))
    print(f"{name}: {len(towers)} batches of {len(images)} images, largest difference {worst:.1e}")
    assert worst < 2e-5


async def test_concurrent_requests_for_a_new_image_share_an_encode(house: House) -> None:
    data = picture(130, 100, seed=501)
    before, records = await house.encodes(), (await house.stats()).records
    message = request("What is this?", [data], max_new_tokens=4)
    answered = await asyncio.gather(*(house.ask(message) for _ in range(16)))
    assert await house.encodes() - before == 1
    assert len({tuple(a.token_ids) for a in answered}) == 1
    assert len({a.finished.receipt.images[0].rows_digest for a in answered}) == 1
    hit = await house.ask(message)  # asked after the write, or served from memory until it is done
    assert hit.sources == ["ROW_SOURCE_ROWS"]
    assert (await house.stats()).records == records + 1


async def test_equal_pixels_in_another_file_are_not_encoded_again(house: House) -> None:
    """The same picture as PNG and as WebP without loss: two ids, one pixel digest, one computation."""
    import io

    from PIL import Image

    png = picture(90, 90, seed=502)
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).save(out, "WEBP", lossless=True)
    before = await house.encodes()
    first = await house.ask(request("?", [png], max_new_tokens=2))
    second = await house.ask(request("?", [out.getvalue()], max_new_tokens=2))
    assert await house.encodes() - before == 1
    assert second.sources == ["ROW_SOURCE_ROWS"]
    assert first.token_ids == second.token_ids


async def test_another_size_of_the_same_image_is_another_record(house: House) -> None:
    data = picture(200, 200, seed=503)
    small = request("?", [data], max_new_tokens=2, max_pixels=10_000)
    full = request("?", [data], max_new_tokens=2)
    first, second = await house.ask(small), await house.ask(full)
    assert first.sources == second.sources == ["ROW_SOURCE_ENCODED"]
    assert first.started.visual_tokens < second.started.visual_tokens
    assert (await house.ask(small)).sources == ["ROW_SOURCE_ROWS"]
