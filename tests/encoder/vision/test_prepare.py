"""From file bytes to rows, through all parts that an encoder assembles."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_svc.images.decoder import Decoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.store.keys import UploadKey
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.prepare import ImagePreparer
from encoder_svc.vision.preprocess import patches
from encoder_svc.vision.queued_image import QueuedImage
from encoder_svc.vision.tower import Tower
from fovea.contract.errors import ImageCorrupt
from fovea.contract.plan import EncodePlan
from fovea.contract.rows import RowDtype
from fovea.geometry import Geometry
from tests.encoder.images.files import encoded, picture
from tests.encoder.parts import CHILD

KEY = UploadKey(bytes(16), bytes(32))


@pytest.fixture
async def preparer(moe: Path) -> AsyncIterator[ImagePreparer]:
    decoder = Decoder(ImageLimits(), CHILD)
    made = ImagePreparer(decoder, Geometry.from_checkpoint(moe))
    yield made
    made.close()
    decoder.close()


async def test_a_prepared_file_is_its_pixels_in_patches(preparer: ImagePreparer, moe: Path) -> None:
    prepared = await preparer.prepare(KEY, encoded(picture(200, 100)), EncodePlan(16_384))
    expected = patches(picture(200, 100), Geometry.from_checkpoint(moe), 16_384)
    assert prepared.patches.grid_thw == expected.grid_thw
    assert np.array_equal(prepared.patches.values, expected.values)
    assert prepared.decode_ms > 0
    assert prepared.preprocess_ms > 0


async def test_kept_indices_are_those_of_the_patches(preparer: ImagePreparer) -> None:
    """Half of the picture has a single colour. A plan that drops nothing needs no pixels."""
    rgb = picture(192, 128)
    rgb[64:] = 7
    plan = EncodePlan(16_777_216, flat_tolerance=0)
    prepared, kept = (
        await preparer.prepare(KEY, encoded(rgb), plan),
        await preparer.kept_indices(KEY, encoded(rgb), plan),
    )
    assert prepared.patches.kept is not None
    assert kept is not None
    assert kept.tolist() == prepared.patches.kept.tolist() == [*range(12), 12]
    assert await preparer.kept_indices(KEY, b"no picture", EncodePlan(16_777_216)) is None


async def test_preprocessing_leaves_the_event_loop_free(
    preparer: ImagePreparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for something that only the loop can do."""
    from encoder_svc.vision import prepare

    loop, gate, stage = asyncio.get_running_loop(), threading.Event(), prepare.patches

    def held(*arguments: Any) -> Any:
        loop.call_soon_threadsafe(gate.set)
        assert gate.wait(timeout=10), "the event loop is held up"
        return stage(*arguments)

    monkeypatch.setattr(prepare, "patches", held)
    assert (await preparer.prepare(KEY, encoded(picture()), EncodePlan(16_384))).patches.count == 24


async def test_a_corrupt_file_is_refused_and_the_next_one_served(preparer: ImagePreparer) -> None:
    with pytest.raises(ImageCorrupt):
        await preparer.prepare(KEY, b"GIF89a", EncodePlan(16_384))
    assert (await preparer.prepare(KEY, encoded(picture()), EncodePlan(16_384))).patches.count == 24


async def test_files_become_the_rows_that_the_tower_gives_them_alone(
    preparer: ImagePreparer, moe: Path
) -> None:
    """Up to float rounding between batches: the tolerance is that of test_tower."""
    tower, geometry = Tower.load(moe), Geometry.from_checkpoint(moe)
    batcher = Batcher(lambda images, saliency: tower.encode(images, RowDtype.FP32, saliency))
    batcher.start()
    sizes = [(96, 64), (64, 96), (160, 128), (33, 70)]
    encodings = await asyncio.gather(
        *(
            batcher.encode(
                QueuedImage(
                    geometry.plan(*size).patches,
                    functools.partial(
                        preparer.prepare, KEY, encoded(picture(*size)), EncodePlan(geometry.max_pixels)
                    ),
                )
            )
            for size in sizes
        )
    )
    await batcher.close()
    for size, made in zip(sizes, encodings, strict=True):
        alone = tower.encode([patches(picture(*size), geometry)], RowDtype.FP32)[0].rows
        assert made.grid_thw == geometry.plan(*size).grid_thw
        ours, expected = (np.frombuffer(data, np.float32) for data in (made.rows, alone))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
