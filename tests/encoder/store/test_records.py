"""A header unpacks as it was packed, and a damaged header never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_svc.store.records import PIECE_BYTES, Head, Record, RecordInvalid

KEY = b"k" * 80


def test_a_header_round_trips() -> None:
    head = Record.cut(KEY, b'{"a":1}', bytes(3 * PIECE_BYTES + 1), created=12.5).head
    assert len(head.checks) == 4
    assert Head.unpack(head.pack(), KEY) == head


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES])
def test_pieces_cover_the_payload_once(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    record = Record.cut(KEY, b"{}", payload[:size], created=0.0)
    assert b"".join(record.pieces) == payload[:size]
    assert [len(piece) for piece in record.pieces] == [b - a for a, b in record.head.spans()]
    assert max(map(len, record.pieces), default=0) <= 256 * 1024


@given(st.data())
def test_any_damaged_byte_of_a_header_is_detected(data: st.DataObject) -> None:
    raw = bytearray(Record.cut(KEY, b'{"a":1}', b"payload", created=1.0).head.pack())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RecordInvalid):
        Head.unpack(bytes(raw), KEY)


@given(st.integers(0, 200))
def test_any_truncated_header_is_detected(length: int) -> None:
    raw = Record.cut(KEY, b'{"a":1}', b"payload", created=1.0).head.pack()
    with pytest.raises(RecordInvalid):
        Head.unpack(raw[: min(length, len(raw) - 1)], KEY)


def test_the_header_of_another_key_is_refused() -> None:
    raw = Record.cut(KEY, b"{}", b"payload", created=1.0).head.pack()
    with pytest.raises(RecordInvalid, match="key echo"):
        Head.unpack(raw, b"j" * 80)
