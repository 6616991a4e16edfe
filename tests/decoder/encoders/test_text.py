"""The text that an encoder sends is checked, and asking for it costs no encoder its breaker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from grpc_status import rpc_status

from decoder_svc.encoders.checks import MAX_TEXT_BYTES, checked_text
from decoder_svc.encoders.failover import replaceable
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.remote import RemoteEncoder
from fovea.contract.errors import DeadlineExceeded, RowsMismatch, TextNotFound, TextReaderMissing
from fovea.contract.text import ImageText, TextLine, text_from_proto, text_to_proto
from fovea.deadline import Deadline
from fovea.rendezvous import owner
from fovea.server import status
from tests.decoder.encoders.fakes import EXPECTED, FakeEncoder, served

LINE = TextLine("Total 12", 1, 2, 30, 14, 0.5)
GOOD = ImageText((LINE,), "rapidocr", "1")


def test_text_travels_whole() -> None:
    sent = replace(GOOD, stored=True, cpu_ms=1.5)
    assert text_from_proto(text_to_proto(sent)) == sent
    assert text_from_proto(text_to_proto(None)) is None


@pytest.mark.parametrize(
    "text",
    [
        replace(GOOD, lines=()),
        replace(GOOD, reader="x\n"),
        replace(GOOD, version="x" * 300),
        replace(GOOD, lines=(replace(LINE, text="a\nb"),)),
        replace(GOOD, lines=(replace(LINE, text="\x1b[31m"),)),
        replace(GOOD, lines=(replace(LINE, text=""),)),
        replace(GOOD, lines=(replace(LINE, confidence=float("nan")),)),
        replace(GOOD, lines=(replace(LINE, right=0),)),
        replace(GOOD, lines=(replace(LINE, text="x" * (MAX_TEXT_BYTES + 1)),)),
        replace(GOOD, lines=(LINE,) * 10_001),
    ],
)
def test_text_that_no_image_shows_is_refused(text: ImageText) -> None:
    with pytest.raises(RowsMismatch):
        checked_text("sha256:0", text)


def test_text_that_is_possible_passes() -> None:
    assert checked_text("sha256:0", GOOD) is GOOD
    assert checked_text("sha256:0", None) is None


class Reader(FakeEncoder):
    """Reads once `go` is set; without a reader it says so."""

    def __init__(self, name: str, installed: bool = True) -> None:
        super().__init__(name)
        self.installed = installed

    async def ReadText(self, request, context):
        self.asked.set()
        if not self.installed:
            error = TextReaderMissing("rapidocr", "why")
            await context.abort_with_status(rpc_status.to_status(status.of(error)))
        await self.go.wait()
        return text_to_proto(GOOD)


async def test_a_reader_that_is_slow_costs_the_wait_and_not_the_breaker() -> None:
    reader = Reader("slow")
    reader.go.clear()
    async with served([reader]):
        remote = RemoteEncoder(reader.address)
        fleet = Fleet({reader.address: remote}, EXPECTED, "here")
        with pytest.raises(DeadlineExceeded):
            await fleet.read_text("sha256:" + "0" * 64, Deadline.after(3), stored_only=False)
        assert reader.asked.is_set()
        assert not remote.link.breaker.open
        reader.go.set()
        assert await fleet.read_text("sha256:" + "0" * 64, Deadline.after(60), stored_only=False) == GOOD
        await remote.close()


async def test_an_encoder_without_a_reader_is_followed_by_one_that_has_it() -> None:
    readers = [Reader("without", installed=False), Reader("with")]
    async with served(readers):
        remotes = {reader.address: RemoteEncoder(reader.address) for reader in readers}
        fleet = Fleet(remotes, EXPECTED, "here")
        digests = (f"sha256:{number:064}" for number in range(100))
        digest = next(each for each in digests if owner(each, remotes) == readers[0].address)
        assert await fleet.read_text(digest, Deadline.after(60), stored_only=False) == GOOD
        assert readers[0].asked.is_set()
        for remote in remotes.values():
            await remote.close()


def test_another_encoder_may_have_a_reader_but_no_other_text() -> None:
    assert replaceable(TextReaderMissing("rapidocr", "why"))
    assert not replaceable(TextNotFound("sha256:0"))
