"""An upload for several models reaches the encoders of each; those of the decoder's own model decide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.storing import put_everywhere
from fovea.contract.errors import EncoderUnavailable, ImageTooLarge
from fovea.contract.image import ImageFacts, StoredImage
from fovea.deadline import Deadline

DIGEST = f"sha256:{'a' * 64}"
CHUNKS = [bytes([number]) * 1000 for number in range(20)]


class Storing:
    """A fleet that stores what it reads, or fails after some chunks."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.source = "test"
        self.stored: list[bytes] = []
        self._fails_after = fails_after

    async def put(self, digest: str, chunks: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        if self._fails_after == 0:
            raise EncoderUnavailable("down")
        async for chunk in chunks:
            self.stored.append(chunk)
            if len(self.stored) == self._fails_after:
                raise EncoderUnavailable("down")
        return StoredImage(ImageFacts(digest, digest, "PNG", 1, 64, 64, 1, False), False, 0.0)


async def stored_by(*fleets: Storing, chunks: AsyncIterator[bytes] | None = None) -> StoredImage:
    return await put_everywhere(cast("list[Fleet]", fleets), DIGEST, chunks or upload(), Deadline.after(30))


async def upload() -> AsyncIterator[bytes]:
    for chunk in CHUNKS:
        yield chunk


async def test_every_fleet_stores_the_upload() -> None:
    fleets = Storing(), Storing(), Storing()
    assert (await stored_by(*fleets)).facts.digest == DIGEST
    assert [fleet.stored for fleet in fleets] == [CHUNKS] * 3


@pytest.mark.parametrize("after", [0, 1, 7])
async def test_a_fleet_of_a_tier_that_fails_costs_nothing(after: int) -> None:
    own, other = Storing(), Storing(after)
    await stored_by(own, other)
    assert own.stored == CHUNKS


@pytest.mark.parametrize("after", [0, 1, 7])
async def test_a_failure_of_the_own_fleet_is_the_callers(after: int) -> None:
    with pytest.raises(EncoderUnavailable):
        await stored_by(Storing(after), Storing())


async def test_a_failure_of_the_upload_is_the_callers() -> None:
    async def too_large() -> AsyncIterator[bytes]:
        yield CHUNKS[0]
        raise ImageTooLarge(2, 1)

    with pytest.raises(ImageTooLarge):
        await stored_by(Storing(), Storing(), chunks=too_large())
