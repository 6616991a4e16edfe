"""Storing images: the id is sent first, known images are not sent, pieces are small."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fovea.client.upload import PIECE_BYTES, FileUpload
from fovea.contract.errors import ImageNotStored
from fovea.contract.rows import digest

LARGE = bytes(range(256)) * 4096 * 5  # 5 MiB, above the 4 MiB that an unmodified server takes in one message


def test_a_file_and_its_bytes_have_the_same_id(picture):
    data = Path(picture).read_bytes()
    assert FileUpload.of(picture).digest == FileUpload.of(data).digest == digest(data)


def test_a_stored_image_comes_back_with_its_facts(client, decoder, picture):
    stored = client.put(picture)
    assert stored.facts.digest == digest(Path(picture).read_bytes())
    assert (stored.already, stored.encoder, stored.expires) == (False, "encoder-0", 4_000_000_000.0)
    assert decoder.stored[stored.facts.digest] == Path(picture).read_bytes()


def test_a_known_image_is_not_uploaded_at_all(client, decoder):
    decoder.stored[digest(LARGE)] = LARGE
    heard = []
    stored = client.put(LARGE, lambda sent, total: heard.append(sent))
    assert (stored.already, stored.facts.digest, stored.expires) == (True, digest(LARGE), 4_000_000_000.0)
    assert (decoder.calls, heard) == (["DescribeImage"], [])


def test_an_unknown_large_image_is_asked_about_first(client, decoder):
    assert not client.put(LARGE).already
    assert decoder.calls == ["DescribeImage", "PutImage"]
    assert decoder.stored == {digest(LARGE): LARGE}


def test_a_small_image_is_sent_at_once(client, decoder, picture):
    client.put(picture)
    assert decoder.calls == ["PutImage"]


def test_an_image_that_is_about_to_expire_is_renewed_by_its_header(client, decoder):
    decoder.stored[digest(LARGE)] = LARGE
    decoder.expires = int(time.time()) + 60
    assert client.put(LARGE).already
    assert decoder.calls == ["DescribeImage", "PutImage"]
    assert decoder.put_messages == 1


def test_an_image_is_described_by_its_id_or_as_a_file(client, decoder, picture):
    stored = client.put(picture)
    for image in (stored.facts.digest, picture, Path(picture).read_bytes()):
        described = client.describe(image)
        assert (described.facts, described.expires) == (stored.facts, stored.expires)
        assert described.already
    assert decoder.calls == ["PutImage", *["DescribeImage"] * 3]


def test_an_image_that_is_not_stored_is_not_described(client):
    with pytest.raises(ImageNotStored) as caught:
        client.describe(b"nowhere")
    assert caught.value.metadata == {"image": digest(b"nowhere")}


def test_a_large_file_travels_in_pieces_of_a_mebibyte(client, decoder):
    heard = []
    client.put(LARGE, lambda sent, total: heard.append((sent, total)))
    assert max(decoder.put_sizes) == PIECE_BYTES
    assert heard == [((n + 1) * PIECE_BYTES, len(LARGE)) for n in range(5)]


def test_an_empty_file_is_refused_by_the_server(client, decoder):
    client.put(b"")
    assert decoder.stored == {digest(b""): b""}


def test_a_missing_file_is_an_oserror_before_any_call(client, decoder, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.ask("?", [tmp_path / "none.png"])
    assert decoder.calls == []


class Failing:
    """A progress callback that raises."""

    def __init__(self, after: int) -> None:
        self.heard = 0
        self.after = after

    def __call__(self, sent: int, total: int) -> None:
        self.heard += 1
        if self.heard > self.after:
            raise KeyError("no such widget")


@pytest.mark.parametrize("after", [0, 1, 4])
def test_errors_of_a_progress_callback_are_raised(client, decoder, capfd, after):
    """Not a status without a cause, a cancelled task, or silence; and no traceback of gRPC."""
    with pytest.raises(KeyError, match="no such widget"):
        client.put(LARGE, Failing(after))
    assert decoder.stored == {}
    assert "Traceback" not in capfd.readouterr().err
    assert not client.put(LARGE).already, "the client is of no use any more"


def test_a_file_that_cannot_be_read_to_its_end_is_an_oserror(client, decoder, tmp_path, monkeypatch):
    """The file was hashed, then removed."""
    path = tmp_path / "large.png"
    path.write_bytes(LARGE)
    upload = FileUpload.of(path)
    monkeypatch.setattr(FileUpload, "of", lambda source: upload)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        client.put(path)
    assert decoder.stored == {}
