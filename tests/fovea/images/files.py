"""Image files built byte by byte, with their expected pixels."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fovea.images import opened, shown

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

Samples = npt.NDArray[Any]


def scene(width: int = 48, height: int = 32) -> npt.NDArray[np.uint8]:
    """A different colour in every pixel, all above 0."""
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([5 * right + 9, 7 * down + 9, 9 + (right * down) % 240], -1).astype(np.uint8)


def saved(image: Image.Image | Samples, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, format, **options)
    return stream.getvalue()


def drawn(data: bytes) -> npt.NDArray[np.uint8]:
    """The RGB pixels of a file, which must be complete."""
    still = opened(data)
    still.check_complete()
    return np.array(shown(still).image.convert("RGB"))


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    result = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", result)


def chunks(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def with_chunk(data: bytes, added: bytes, before: bytes = b"IDAT") -> bytes:
    place = data.index(before) - 4
    return data[:place] + added + data[place:]


def packed(samples: Samples, depth: int) -> bytes:
    """A row of samples, padded to whole bytes."""
    bits = "".join(format(value, f"0{depth}b") for value in samples.reshape(-1).tolist())
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def rows(samples: Samples, depth: int, interlaced: bool = False) -> list[bytes]:
    """The rows of all passes, each with filter 0."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = [samples[top::down, left::across] for left, top, across, down in passes]
    return [b"\0" + packed(row, depth) for part in parts if part.size for row in part]


def png(
    samples: Samples,
    depth: int,
    colour: int,
    *,
    extra: bytes = b"",
    interlaced: bool = False,
    data: bytes | None = None,
) -> bytes:
    """`samples` are (height, width, channels). `data` replaces the bytes of all rows."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    pixels = b"".join(rows(samples, depth, interlaced)) if data is None else data
    idat = chunk(b"IDAT", zlib.compress(pixels))
    return SIGNATURE + chunk(b"IHDR", header) + extra + idat + chunk(b"IEND", b"")


def halves(left: Iterable[int], right: Iterable[int]) -> npt.NDArray[np.uint16]:
    """16x8 samples of two colours."""
    values = np.zeros((8, 16, len(list(left))), np.uint16)
    values[:, :8], values[:, 8:] = list(left), list(right)
    return values


def tiff(orientation: int, order: str = ">", type: int = 3) -> bytes:
    value = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I"}[type], orientation)
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HIH", 42, 8, 1)
    return head + struct.pack(order + "HHI", 0x0112, type, 1) + value + bytes(4)


def raw_profile(body: bytes, name: str = "exif") -> bytes:
    """In ImageMagick's format: a length, and hex digits in lines of 36 bytes."""
    lines = [body[at : at + 36].hex() for at in range(0, len(body), 36)]
    return "\n".join(["", name, f"{len(body):8}", *lines, ""]).encode()


def xmp(orientation: int) -> bytes:
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg: bytes, added: bytes) -> bytes:
    return jpeg[:2] + added + jpeg[2:]


def scan_starts(jpeg: bytes) -> list[int]:
    return [result.start() for result in re.finditer(rb"\xff\xda", jpeg)]


def gif(
    screen: tuple[int, int],
    frame: tuple[int, int, int, int],
    indices: Iterable[int],
    *,
    palette: bytes,
    background: int = 0,
    control: bytes = b"",
    local: bool = False,
) -> bytes:
    """A frame (left, top, width, height). Every code has 3 bits, as the table is cleared before it grows."""
    codes: list[int] = []
    for place, index in enumerate(indices):
        codes += [4] * (place % 2 == 0) + [index]
    value = int("".join(format(code, "03b") for code in [5, *reversed(codes)]), 2)
    data = value.to_bytes((3 * len(codes) + 10) // 8, "little")
    blocks = b"".join(
        bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255)
    )
    table = palette.ljust(12, b"\0")
    head = struct.pack("<HHBBB", *screen, 0 if local else 0x81, background, 0) + (b"" if local else table)
    place = b"," + struct.pack("<HHHHB", *frame, 0x81 if local else 0) + (table if local else b"")
    return b"GIF89a" + head + control + place + b"\2" + blocks + b"\0;"


def webp_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    result, at = [], 12
    while at < len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        result.append((name, data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return result


def webp(parts: Iterable[tuple[bytes, bytes]]) -> bytes:
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for name, part in parts
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
