"""The encoder on a real store, with a decoder and a tower that count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from encoder_svc.encoder import Encoder, RowIdentity
from encoder_svc.images.decode import Picture
from encoder_svc.images.decoder import ThreadDecoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.store import LmdbStore, StoreLimits, tenant_id
from encoder_svc.uploads import UploadPolicy, Uploads
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.prepare import Preparer
from encoder_svc.vision.preprocess import Patches
from encoder_svc.vision.rows import TowerRows
from fovea.geometry import Geometry
from fovea.rows import RowDtype, RowLayout
from tests.encoder.images.files import encoded, picture

LAYOUT = RowLayout(width=8, levels=3, dtype=RowDtype.BF16)
GEOMETRY = Geometry()
MIB = 1024 * 1024


class CountingDecoder(ThreadDecoder):
    """A decoder that knows how often it was asked."""

    decodes = 0

    async def decode(self, data: bytes) -> Picture:
        self.decodes += 1
        return await super().decode(data)


@dataclass
class Parts:
    """An encoder, and what it is made of."""

    encoder: Encoder
    decoder: CountingDecoder
    computed: list[int] = field(default_factory=list)


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    computed: list[int] = []

    def tower(images: Sequence[Patches], saliency: bool) -> list[TowerRows]:
        computed.append(len(images))
        return [TowerRows(bytes([len(computed)]) * (image.count // 4 * LAYOUT.row_bytes)) for image in images]

    decoder, batcher = CountingDecoder(ImageLimits()), Batcher(tower)
    preparer = Preparer(decoder, GEOMETRY)
    with LmdbStore(tmp_path / "store", StoreLimits(32 * MIB, 8 * MIB)) as store:
        uploads = Uploads(store, decoder, UploadPolicy(MIB, 3600, tenant_id("default")))
        identity = RowIdentity("sha256:" + "f" * 64, LAYOUT, "fp32", GEOMETRY)
        batcher.start()
        encoder = Encoder(identity, uploads, store, preparer, batcher, 1_310_720)
        yield Parts(encoder, decoder, computed)
        await encoder.close()
        await batcher.close()
        preparer.close()
        decoder.close()


async def test_a_hit_never_decodes_the_image(parts: Parts) -> None:
    stored = await parts.encoder.uploads.keep(encoded(picture(96, 64)))
    missed = await parts.encoder.encode(stored.facts.digest, None, "")
    await parts.encoder.close()
    decodes = parts.decoder.decodes
    hits = await asyncio.gather(*(parts.encoder.encode(stored.facts.digest, None, "") for _ in range(4)))
    assert (missed.source, {hit.source for hit in hits}) == ("encoded", {"rows"})
    assert (decodes, parts.decoder.decodes) == (2, 2), "once for the upload, once for the miss"
    assert {bytes(hit.rows.data) for hit in hits} == {bytes(missed.rows.data)}
    assert parts.computed == [1]


async def test_another_plan_of_the_image_is_decoded_again(parts: Parts) -> None:
    stored = await parts.encoder.uploads.keep(encoded(picture(960, 640)))
    for max_pixels in (65_536, 131_072):
        await parts.encoder.encode(stored.facts.digest, max_pixels, "")
    assert (parts.decoder.decodes, parts.computed) == (3, [1, 1])
