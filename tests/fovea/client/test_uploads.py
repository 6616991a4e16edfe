"""Storing images: the id goes first, known bytes are not read, pieces are small."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.client.upload import PIECE_BYTES, Upload
from fovea.rows import digest

LARGE = bytes(range(256)) * 4096 * 5  # 5 MiB, above the 4 MiB that an unmodified server takes in one message


def test_a_file_and_its_bytes_have_one_id(picture):
    data = Path(picture).read_bytes()
    assert Upload.of(picture).digest == Upload.of(data).digest == digest(data)


def test_a_stored_image_comes_back_with_its_facts(client, decoder, picture):
    stored = client.put(picture)
    assert stored.facts.digest == digest(Path(picture).read_bytes())
    assert (stored.already, stored.encoder, stored.expires) == (False, "encoder-0", 2_000_000_000.0)
    assert decoder.stored[stored.facts.digest] == Path(picture).read_bytes()


def test_a_known_image_is_answered_after_its_header_alone(client, decoder):
    decoder.stored[digest(LARGE)] = LARGE
    assert client.put(LARGE).already
    assert decoder.put_messages == 1


def test_a_large_file_travels_in_pieces_of_a_mebibyte(client, decoder):
    heard = []
    client.put(LARGE, lambda sent, total: heard.append((sent, total)))
    assert max(decoder.put_sizes) == PIECE_BYTES
    assert heard == [((n + 1) * PIECE_BYTES, len(LARGE)) for n in range(5)]


def test_an_empty_file_is_the_servers_to_refuse(client, decoder):
    client.put(b"")
    assert decoder.stored == {digest(b""): b""}


def test_a_missing_file_is_an_oserror_before_any_call(client, decoder, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.ask("?", [tmp_path / "none.png"])
    assert decoder.requests == []
    assert decoder.put_messages == 0
