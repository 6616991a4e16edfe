"""Unsupported bytes: the error names the likely type and advice, and quotes nothing."""

from __future__ import annotations

import base64
import io
import struct
import zipfile

import pytest
from PIL import Image

from fovea.contract.errors import ImageEmpty, ImageFormatNotSupported
from fovea.images import opened
from tests.fovea.images.files import saved, scene


def ftyp(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(12)


def archive(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(name, "x")
    return stream.getvalue()


PNG = saved(scene())
JPEG = saved(scene(), "JPEG")
LOOKS = {
    "HEIC": [ftyp(b"heic"), ftyp(b"heix")],
    "AVIF": [ftyp(b"avif"), saved(scene(), "AVIF")],
    "TIFF": [saved(scene(), "TIFF"), b"MM\0*\0\0\0\x08"],
    "BMP": [saved(scene(), "BMP")],
    "JPEG 2000": [saved(scene(), "JPEG2000")],
    "JPEG XL": [b"\xff\x0a" + bytes(9), b"\0\0\0\x0cJXL \r\n\x87\n"],
    "an icon": [saved(Image.fromarray(scene()).resize((32, 32)), "ICO")],
    "a portable bitmap (PNM)": [saved(scene(), "PPM")],
    "a Photoshop file": [b"8BPS\0\1"],
    "a PDF": [b"%PDF-1.7\n", b"junk before\n%PDF-1.4"],
    "an Office document": [
        archive("word/document.xml"),
        archive("[Content_Types].xml"),
        archive("xl/workbook.xml"),
    ],
    "an old Office document": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9)],
    "a ZIP archive": [archive("picture.png")],
    "a compressed file or archive": [b"\x1f\x8b\x08\0", b"7z\xbc\xaf\x27\x1c"],
    "a video": [ftyp(b"isom"), ftyp(b"qt  "), b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI LIST", b"\0\0\0\x08wide"],
    "SVG": [b"<svg xmlns='x'/>", b"<?xml version='1.0'?>\n<!-- x -->\n<svg/>", b"\xef\xbb\xbf <SVG>"],
    "HTML": [b"<!DOCTYPE html><html>", b"\n<html>", b"<HEAD>"],
    "XML": [b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"],
    "JSON": [b'{"error": 404}', b" [1, 2]"],
    "a data URL": [b"data:image/png;base64," + base64.b64encode(PNG)],
    "a picture in base64": [base64.b64encode(PNG), base64.encodebytes(JPEG), base64.urlsafe_b64encode(JPEG)],
    "bytes written as text": [repr(PNG).encode(), PNG.hex().encode(), repr(JPEG).encode()],
    "an address": [b"https://example.org/a.png", b"s3://bucket/key", b"file:///tmp/a.png"],
    "the name of a file": [b"/tmp/a.png", b"C:\\pictures\\a b.JPG\r\n"],
    "an HTTP message": [b"HTTP/1.1 200 OK\r\n\r\n" + PNG, b"Content-Type: image/png\r\n\r\n" + PNG],
    "a picture that went through a text encoding": [
        PNG.decode("utf-8", "replace").encode(),
        PNG.decode("latin-1").encode(),
        JPEG.decode("latin-1").encode(),
        JPEG.decode("utf-8", "replace").encode(),
    ],
    "a PNG whose line ends were changed": [PNG.replace(b"\r\n", b"\n"), PNG.replace(b"\n", b"\r\n")],
    "a Git LFS pointer": [b"version https://git-lfs.github.com/spec/v1\noid sha256:0"],
    "text": [b"What is the total?", "Wie hoch ist die Summe für März?".encode()],
    "zero bytes alone": [bytes(5000)],
}


@pytest.mark.parametrize("looks", LOOKS)
def test_the_error_names_the_likely_type(looks: str) -> None:
    for data in LOOKS[looks]:
        with pytest.raises(ImageFormatNotSupported) as caught:
            opened(data)
        assert caught.value.metadata == {"supported": "JPEG,PNG,WEBP,GIF", "looks_like": looks}, data[:30]
        assert f"they look like {looks}: " in caught.value.message


def test_unknown_bytes_get_no_guess() -> None:
    with pytest.raises(ImageFormatNotSupported) as caught:
        opened(b"\xfe\x81\x03" * 99)
    assert caught.value.message == "the bytes are not an image of a supported format (JPEG, PNG, WEBP, GIF)"


def test_a_format_that_is_not_accepted_is_named() -> None:
    with pytest.raises(ImageFormatNotSupported, match="they look like GIF: "):
        opened(saved(Image.fromarray(scene()).quantize(16), "GIF"), ("PNG", "JPEG"))


def test_no_bytes_are_image_empty() -> None:
    with pytest.raises(ImageEmpty):
        opened(b"")
