"""Image sources: every supported type is accepted, everything else is refused with advice."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from fovea.client import Image, Message, fit
from fovea.client.sources import MOST_BYTES, ImageFileTooLarge, ImageSourceInvalid, PdfIsNoImage, content
from fovea.contract.errors import ImageFormatNotSupported
from fovea.images import opened, shown
from tests.fovea.client.papers import pdf

PIXELS = np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8)


def saved(image: Pillow.Image, format: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


FILE = saved(Pillow.fromarray(PIXELS))


def written() -> io.BytesIO:
    """As after an image was saved into it: positioned at its end."""
    out = io.BytesIO()
    out.write(FILE)
    return out


BYTES = {
    "bytes": FILE,
    "bytearray": bytearray(FILE),
    "memoryview": memoryview(FILE),
    "BytesIO": written(),
    "cv2.imencode": np.frombuffer(FILE, np.uint8),
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_of_a_file_stay_what_they_are(name):
    assert content(BYTES[name]) == FILE


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "chart.png"
    path.write_bytes(FILE)
    return path


@pytest.mark.parametrize("kind", [str, Path, Path.read_bytes, Path.open, Pillow.open, Image])
@pytest.mark.parametrize(
    "listed", [lambda kind: kind, lambda kind: [kind], lambda kind: (kind for _ in (1,))]
)
def test_a_single_image_needs_no_list(client, decoder, path, kind, listed):
    given = path.open("rb") if kind is Path.open else kind(path)
    assert client.ask("?", listed(given)).text == "forty two"
    (stored,) = decoder.stored.values()
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(stored))), PIXELS)


def test_an_id_needs_no_list(client, decoder, path):
    digest = client.put(path).facts.digest
    assert client.ask("?", digest).text == "forty two"
    assert client.describe(path).facts.digest == digest


def test_files_are_shrunk_however_they_are_given(path):
    large = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8))
    path.write_bytes(saved(large))
    assert (
        fit(path, 262_144) == fit(str(path), 262_144) == fit(path.open("rb"), 262_144) == fit(large, 262_144)
    )
    assert len(fit(path, 262_144)) < path.stat().st_size


def seen(source) -> np.ndarray:
    """The pixels that the encoder sees."""
    return np.asarray(shown(opened(content(source))).image.convert("RGB"))


def on_white(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(shown(opened(saved(Pillow.fromarray(pixels)))).image.convert("RGB"))


GREY = PIXELS[:, :, 0]
ARRAYS = {
    "RGB": (PIXELS, PIXELS),
    "not contiguous": (PIXELS[::-1, ::-1], PIXELS[::-1, ::-1]),
    "grey": (GREY, np.dstack([GREY] * 3)),
    "grey with an axis": (GREY[:, :, None], np.dstack([GREY] * 3)),
    "16-bit grey": (GREY.astype(np.uint16) * 257, np.dstack([GREY] * 3)),
    "bool": (GREY > 99, np.dstack([(GREY > 99) * np.uint8(255)] * 3)),
    "RGBA": (np.dstack([PIXELS, GREY]), on_white(np.dstack([PIXELS, GREY]))),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_encoded_unchanged(name):
    array, expected = ARRAYS[name]
    assert np.array_equal(seen(array), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "I;16"])
def test_a_pillow_image_of_any_mode_is_taken(mode):
    grey = Pillow.fromarray(GREY)
    image = grey.convert("I").convert(mode) if mode == "I;16" else Pillow.fromarray(PIXELS).convert(mode)
    assert seen(image).shape == PIXELS.shape


def test_a_pillow_image_is_oriented_like_its_file():
    exif = Pillow.Exif()
    exif[0x0112] = 6
    sideways = Pillow.open(io.BytesIO(saved(Pillow.fromarray(PIXELS), exif=exif)))
    assert seen(sideways).shape == (40, 24, 3)
    damaged = Pillow.fromarray(PIXELS)
    damaged.info["exif"] = b"Exif\0\0XXXX garbage"
    assert np.array_equal(seen(damaged), PIXELS)


ADVISED = {
    "a URL": ("https://example.com/cat.png", "URL"),
    "a file URL": ("file:///tmp/cat.png", "URL"),
    "a data URL": ("data:image/png;base64,iVBORw0KGgo=", "b64decode"),
    "base64 text": ("iVBORw0KGgo" * 40, "b64decode"),
    "an id cut off": ("sha256:12ab", "64 lower-case"),
    "no path": ("", "no path"),
    "a NUL": ("a\0b.png", "no path"),
    "a PDF": (pdf(), r"pdf\.pages"),
}


@pytest.mark.parametrize("name", ADVISED)
def test_paths_that_are_not_images_get_advice(client, decoder, name):
    source, words = ADVISED[name]
    for given in (source, [source]):
        with pytest.raises(ImageSourceInvalid, match=words):
            client.ask("?", given)
    assert decoder.calls == []


def test_a_pdf_has_the_reason_of_the_services(client, decoder):
    with pytest.raises(PdfIsNoImage) as caught:
        client.put(pdf())
    assert caught.value.reason == ImageFormatNotSupported.reason
    assert decoder.calls == []


UNUSABLE = {
    "a number": (5, "numpy array"),
    "nothing in a list": ([None], "numpy array"),
    "a dict": ({"image": FILE}, "a list"),
    "a text stream": (io.StringIO("x"), "'rb'"),
    "floats": (PIXELS / 255, "uint8"),
    "channels first": (PIXELS.transpose(2, 0, 1), "height, width"),
    "a batch": (PIXELS[None], "height, width"),
    "an empty array": (PIXELS[:0], "height, width"),
    "a float image": (Pillow.new("F", (40, 24)), "8 bits"),
    "an image of negative values": (Pillow.new("I", (40, 24), -1), "8 bits"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_objects_without_an_image_are_named_by_type(client, name):
    source, words = UNUSABLE[name]
    with pytest.raises(TypeError, match=words):
        client.ask("?", source)


def test_a_missing_file_says_what_an_image_may_be(client):
    with pytest.raises(FileNotFoundError, match=r"a path.*or a list of these.*none\.png") as caught:
        client.ask("?", "none.png")
    assert caught.value.filename == "none.png"


def test_a_file_that_fails_during_reading_is_named(client):
    with pytest.raises(OSError, match="/proc/self/mem"):
        client.ask("?", "/proc/self/mem")


def test_a_pipe_is_read_once(client, decoder, tmp_path):
    """An upload reads its file twice, but a pipe can be read only once."""
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        writing = pool.submit((tmp_path / "pipe").write_bytes, FILE)
        client.ask("?", tmp_path / "pipe")
        writing.result()
    assert list(decoder.stored.values()) == [FILE]


def test_files_above_the_largest_image_are_not_read(client, tmp_path):
    with (tmp_path / "vast.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    for source in (tmp_path / "vast.png", "/dev/zero"):
        with pytest.raises(ImageFileTooLarge):
            client.ask("?", source)


def test_a_conversation_is_checked_before_it_is_sent(client, decoder):
    assert client.ask(Message("user", "hello")).text == "forty two"
    assert [part.text for part in decoder.requests[0].messages[0].parts] == ["hello"]
    with pytest.raises(ValueError, match="system, user, assistant"):
        client.ask([Message("robot", ["hello"])])
    with pytest.raises(TypeError, match=r"messages\[0\].*Message"):
        client.ask([{"role": "user", "content": "hello"}])
    with pytest.raises(TypeError, match=r"messages\[0\]\.parts\[1\].*Image"):
        client.ask([Message("user", ["hello", FILE])])
