"""The rows of an encoder that cannot be trusted: whatever does not fit ends the fetch."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest
import xxhash

from decoder_svc.encoders.remote import RemoteEncoder, WireFetch
from decoder_svc.encoders.source import RowRequest
from decoder_svc.errors import EncoderChanged
from fovea.contract import frames
from fovea.contract.errors import EncoderMismatch, RowsMismatch, RowsNotFinite
from fovea.contract.frames import ChunkFrame
from fovea.contract.plan import EncodePlan
from fovea.contract.row_stream import UNKNOWN_EVENTS, RowHeader, RowSummary, read_event
from fovea.contract.rows import digest, layout_to_proto
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import rows_pb2
from tests.decoder.encoders.fakes import EXPECTED, LAYOUT, FakeEncoder, served

ROWS, GRID = 6, (1, 4, 6)
DATA = bytes(range(127)) * (ROWS * LAYOUT.row_bytes // 127 + 1)  # as fp32 all finite
WANTED = RowRequest("sha256:" + "a" * 64, EncodePlan(65_536), GRID, ROWS, EXPECTED.fingerprint, LAYOUT)
Messages = list[encoder_pb2.EncodeResponse]


class Streaming(FakeEncoder):
    """Answers Encode with these messages, in protobuf's own writing."""

    def __init__(self, messages: Messages) -> None:
        super().__init__("streaming")
        self.messages = messages

    async def Encode(self, request, context) -> AsyncIterator[encoder_pb2.EncodeResponse]:
        for message in self.messages:
            yield message


def chunk(first: int, count: int = 2) -> encoder_pb2.EncodeResponse:
    data = DATA[first * LAYOUT.row_bytes : (first + count) * LAYOUT.row_bytes]
    check = xxhash.xxh3_64_intdigest(data)
    return encoder_pb2.EncodeResponse(
        chunk=rows_pb2.RowChunk(first_row=first, rows=count, data=data, xxh3=check)
    )


def good() -> Messages:
    header = encoder_pb2.EncodeHeader(
        layout=layout_to_proto(LAYOUT), rows=ROWS, fingerprint=EXPECTED.fingerprint, encoder="streaming",
        source=rows_pb2.ROW_SOURCE_ROWS,
    )  # fmt: skip
    header.count.grid.t, header.count.grid.h, header.count.grid.w = GRID
    header.count.tokens = ROWS
    size = ROWS * LAYOUT.row_bytes
    summary = encoder_pb2.EncodeSummary(rows=ROWS, row_bytes=size, rows_digest="sha256:" + "d" * 64)
    return [
        encoder_pb2.EncodeResponse(header=header),
        *(chunk(first) for first in range(0, ROWS, 2)),
        encoder_pb2.EncodeResponse(summary=summary),
    ]


async def fetched(messages: Messages, checks_digest: bool = False) -> tuple[bytes, WireFetch]:
    encoder = Streaming(messages)
    async with served([encoder]):
        peer = RemoteEncoder(encoder.address, checks_digest=checks_digest)
        try:
            fetch = peer.fetch(WANTED, Deadline.after(30))
            return b"".join([bytes(part.data) async for part in fetch.chunks()]), fetch
        finally:
            await peer.close()


async def test_a_valid_stream_is_read_with_its_report() -> None:
    data, fetch = await fetched(good())
    size = ROWS * LAYOUT.row_bytes
    assert data == DATA[:size]
    report = fetch.report
    assert (report.origin, report.encoder, report.wire_bytes, report.row_bytes) == (
        "rows", "streaming", size, size,
    )  # fmt: skip


@pytest.mark.parametrize("truth", [True, False])
async def test_rows_of_another_digest_are_refused_if_the_setting_says_so(truth: bool) -> None:
    messages = good()
    if truth:
        messages[-1].summary.rows_digest = digest(DATA[: ROWS * LAYOUT.row_bytes])
        data, fetch = await fetched(messages, checks_digest=True)
        assert (data, fetch.report.rows_digest) == (DATA[: len(data)], messages[-1].summary.rows_digest)
        return
    with pytest.raises(RowsMismatch, match="digest is not that of the rows"):
        await fetched(messages, checks_digest=True)


def _flipped(messages: Messages) -> None:
    data = bytearray(messages[2].chunk.data)
    data[7] ^= 1
    messages[2].chunk.data = bytes(data)


def _other_check(messages: Messages) -> None:
    messages[2].chunk.xxh3 = 0


def _shorter(messages: Messages) -> None:
    messages[2].chunk.data = messages[2].chunk.data[:-1]


def _without(place: int) -> Callable[[Messages], None]:
    def drop(messages: Messages) -> None:
        del messages[place]

    return drop


def _again(messages: Messages) -> None:
    messages.insert(4, chunk(4))


def _swapped(messages: Messages) -> None:
    messages[1], messages[2] = messages[2], messages[1]


def _other_grid(messages: Messages) -> None:
    messages[0].header.count.grid.w += 2


def _other_layout(messages: Messages) -> None:
    messages[0].header.layout.levels += 1


def _begun_twice(messages: Messages) -> None:
    messages.insert(1, messages[0])


def _goes_on(messages: Messages) -> None:
    messages.append(messages[-1])


def _nothing_new(messages: Messages) -> None:
    messages[1:1] = [encoder_pb2.EncodeResponse()] * UNKNOWN_EVENTS


def _endless_name(messages: Messages) -> None:
    messages[0].header.encoder = "e" * 100_000


def _forged_lines(messages: Messages) -> None:
    messages[0].header.encoder = "encoder-0\nready"


def _no_digest(messages: Messages) -> None:
    messages[-1].summary.rows_digest = "anything"


def _no_time(messages: Messages) -> None:
    messages[-1].summary.timings.total_ms = float("nan")


@pytest.mark.parametrize(
    "harm",
    [
        _flipped, _other_check, _shorter, _again, _swapped, _other_grid, _begun_twice, _goes_on, _nothing_new,
        _no_time, _endless_name, _forged_lines, _no_digest,
        *(_without(place) for place in range(5)),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused(harm: Callable[[Messages], None]) -> None:
    messages = good()
    harm(messages)
    with pytest.raises(RowsMismatch):
        await fetched(messages)


async def test_a_time_that_the_decoder_has_not_waited_is_not_believed() -> None:
    messages = good()
    messages[-1].summary.timings.total_ms = 1e12
    began = time.monotonic()
    _, fetch = await fetched(messages)
    assert 0 < fetch.report.encode_ms <= (time.monotonic() - began) * 1000


async def test_unknown_events_of_a_later_contract_are_skipped() -> None:
    messages = good()
    messages[1:1] = [encoder_pb2.EncodeResponse()] * (UNKNOWN_EVENTS - 1)
    assert (await fetched(messages))[0] == DATA[: ROWS * LAYOUT.row_bytes]


async def test_another_layout_is_that_of_an_encoder_which_was_started_again() -> None:
    messages = good()
    _other_layout(messages)
    with pytest.raises(EncoderChanged):
        await fetched(messages)


async def test_rows_of_another_model_are_refused() -> None:
    messages = good()
    messages[0].header.fingerprint = "sha256:" + "0" * 64
    with pytest.raises(EncoderMismatch):
        await fetched(messages)


UNKNOWN_FIELD = bytes([15 << 3, 1])


@pytest.mark.parametrize("extra", [b"", UNKNOWN_FIELD])
def test_a_chunk_of_a_newer_encoder_is_read_by_protobuf(extra: bytes) -> None:
    """A field that this version does not know is skipped, as protobuf promises."""
    message = chunk(2).SerializeToString() + extra
    assert (frames.read(message) is None) == bool(extra)
    found = read_event(message)
    assert isinstance(found, ChunkFrame)
    known = chunk(2).chunk
    assert (found.first_row, found.rows, bytes(found.data), found.xxh3) == (2, 2, known.data, known.xxh3)


def test_other_messages_are_unchanged() -> None:
    header, *_, summary = good()
    opening, closing = read_event(header.SerializeToString()), read_event(summary.SerializeToString())
    assert isinstance(opening, RowHeader)
    assert (opening.layout, opening.rows, opening.count.grid_thw, opening.kept) == (LAYOUT, ROWS, GRID, None)
    assert isinstance(closing, RowSummary)
    assert (closing.rows, closing.rows_digest) == (ROWS, summary.summary.rows_digest)
    assert read_event(b"") is None


async def test_rows_that_are_not_finite_are_refused() -> None:
    """Their check fits: they were computed so."""
    messages = good()
    data = bytearray(messages[2].chunk.data)
    data[LAYOUT.row_bytes + 2 : LAYOUT.row_bytes + 4] = b"\xc0\x7f"  # NaN
    messages[2].chunk.data = bytes(data)
    messages[2].chunk.xxh3 = xxhash.xxh3_64_intdigest(bytes(data))
    with pytest.raises(RowsNotFinite, match="row 3 holds") as refused:
        await fetched(messages)
    assert refused.value.metadata == {"row": "3", "dtype": "fp32"}
