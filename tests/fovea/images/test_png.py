"""PNG: every depth and colour type, transparency at native depth, complete or refused; metadata is
irrelevant.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from fovea.contract.errors import ImageCorrupt
from fovea.images import opened, shown
from tests.fovea.images.files import (
    CHANNELS,
    SIGNATURE,
    chunk,
    chunks,
    drawn,
    halves,
    png,
    raw_profile,
    rows,
    saved,
    scene,
    tiff,
    with_chunk,
    xmp,
)

DEPTHS = [
    (colour, depth)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items()
    for depth in depths
]
PALETTE = bytes(range(255, -1, -1)) * 3


def some(colour: int, depth: int) -> np.ndarray:
    draw = np.random.default_rng(depth)
    return draw.integers(0, 1 << depth, (13, 11, CHANNELS[colour]))


def palette(colour: int, depth: int) -> bytes:
    return chunk(b"PLTE", PALETTE[: 3 << depth]) if colour == 3 else b""


def expected(samples: np.ndarray, colour: int, depth: int) -> np.ndarray:
    """The pixels by the PNG specification, with 8 bits, alpha on white."""
    if colour == 3:
        return np.frombuffer(PALETTE, np.uint8).reshape(-1, 3)[samples[..., 0]].astype(float)
    # Grey of 16 bits is rounded; the other kinds of 16 bits keep their high byte.
    values = samples >> 8 if depth == 16 and colour else samples * 255 / ((1 << depth) - 1)
    channels = CHANNELS[colour]
    rgb = values[..., [0] * 3] if channels < 3 else values[..., :3]
    alpha = values[..., -1:] / 255 if channels % 2 == 0 else 1
    return rgb * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), DEPTHS)
def test_every_kind_of_pixel_is_drawn(colour: int, depth: int, interlaced: bool) -> None:
    samples = some(colour, depth)
    data = png(samples, depth, colour, extra=palette(colour, depth), interlaced=interlaced)
    assert np.abs(drawn(data) - expected(samples, colour, depth)).max() <= 1


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), DEPTHS)
def test_rows_that_are_missing_are_not_filled_in(colour: int, depth: int, interlaced: bool) -> None:
    """The stream is complete with a valid checksum; Pillow takes its end for the image's end."""
    samples = some(colour, depth)
    pixels = b"".join(rows(samples, depth, interlaced))
    for count in (0, 1, len(pixels) // 2, len(pixels) - 1):
        data = png(
            samples, depth, colour, extra=palette(colour, depth), interlaced=interlaced, data=pixels[:count]
        )
        with pytest.raises(ImageCorrupt):
            opened(data).check_complete()


def test_a_small_file_with_a_huge_header_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 5000, 5000, 8, 2, 0, 0, 0)
    row = chunk(b"IDAT", zlib.compress(bytes(15_001)))
    data = SIGNATURE + chunk(b"IHDR", header) + row + chunk(b"IEND", b"")
    assert len(data) < 120
    with pytest.raises(ImageCorrupt):
        opened(data).check_complete()


def test_the_first_pass_of_an_interlaced_picture_is_not_the_picture() -> None:
    samples = scene()
    first = b"".join(b"\0" + row.tobytes() for row in samples[::8, ::8])
    with pytest.raises(ImageCorrupt):
        opened(png(samples, 8, 2, interlaced=True, data=first)).check_complete()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_is_compared_at_its_depth(depth: int) -> None:
    top = (1 << depth) - 1
    for clear in {0, 1, top // 2, top}:
        other = top if clear == 0 else 0
        made = drawn(png(halves([clear], [other]), depth, 0, extra=chunk(b"tRNS", struct.pack(">H", clear))))
        assert (made[:, :8] == 255).all(), clear
        assert (made[:, 8:] == (255 if other else 0)).all(), clear


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_is_compared_at_its_depth(depth: int) -> None:
    """At 16 bits, colours that share either byte stay opaque."""
    for clear in ((0, 0, 0), (0x40, 0x50, 0x60), (0x1234, 0x5678, 0x9ABC), (0xFF, 0, 0)):
        key = [value & ((1 << depth) - 1) for value in clear]
        for other in ([key[0] ^ 1, *key[1:]], [*key[:2], key[2] ^ (1 << (depth - 1))]):
            made = drawn(png(halves(key, other), depth, 2, extra=chunk(b"tRNS", struct.pack(">3H", *clear))))
            assert (made[:, :8] == 255).all(), clear
            assert (made[:, 8:] == [value >> (depth - 8) for value in other]).all(), clear


def test_black_text_stays_black_beside_a_transparent_colour_of_16_bits() -> None:
    data = png(
        halves((0, 0, 0), (0x4000,) * 3), 16, 2, extra=chunk(b"tRNS", struct.pack(">3H", *(0x4000,) * 3))
    )
    still = opened(data)
    assert (drawn(data)[:, :8] == 0).all()
    assert (drawn(data)[:, 8:] == 255).all()
    assert shown(still).had_alpha


def test_an_unused_transparent_colour_is_no_alpha() -> None:
    data = png(halves([3], [9]), 8, 0, extra=chunk(b"tRNS", b"\0\7"))
    assert not shown(opened(data)).had_alpha


@pytest.mark.parametrize(
    "tables",
    [
        chunk(b"PLTE", bytes([9, 9, 9, 64, 64, 64])) + chunk(b"tRNS", b"\xff\xff\0"),
        chunk(b"tRNS", b"\0") + chunk(b"PLTE", bytes([9, 9, 9, 64, 64, 64])),
        chunk(b"PLTE", bytes([9, 9, 9, 64, 64, 64])) + chunk(b"tRNS", b"\0", checksum=1),
    ],
    ids=["longer than the palette", "before the palette", "wrong checksum"],
)
def test_transparency_that_viewers_ignore_is_ignored(tables: bytes) -> None:
    made = drawn(png(halves([0], [1]), 8, 3, extra=tables))
    assert (made[0, 0] == 9).all()
    assert (made[0, 15] == 64).all()


def test_an_index_beyond_the_palette_is_black() -> None:
    made = drawn(png(halves([0], [200]), 8, 3, extra=chunk(b"PLTE", b"\xc8\xc8\xc8")))
    assert (made[:, :8] == 200).all()
    assert (made[:, 8:] == 0).all()


LARGE = b'{"workflow": "' + b"a" * 1_500_000 + b'"}'
NOISE = np.random.default_rng(0).integers(0, 9, 1_500_000, np.uint8).tobytes()
ANCILLARY = {
    "a compressed text of 1.5 MB": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LARGE)),
    "an international text of 1.5 MB": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LARGE)),
    "a plain text of 1.5 MB": chunk(b"tEXt", b"workflow\0" + LARGE),
    "100 texts": chunk(b"zTXt", b"k\0\0" + zlib.compress(LARGE)) * 100,
    "a profile of 1.5 MB": chunk(b"iCCP", b"large\0\0" + zlib.compress(NOISE)),
    "a profile of junk": chunk(b"iCCP", b"bad\0\0junk"),
    "a profile of an unknown compression": chunk(b"iCCP", b"bad\0\5junk"),
    "an empty profile": chunk(b"iCCP", b""),
    "a text of an unknown compression": chunk(b"zTXt", b"k\0\7abc"),
    "a text without a key": chunk(b"tEXt", b"\0abc"),
    "pHYs too short": chunk(b"pHYs", b"\0\0"),
    "gAMA too short": chunk(b"gAMA", b"\0"),
    "cHRM too short": chunk(b"cHRM", b"\0\0\0"),
    "an empty sRGB": chunk(b"sRGB", b""),
    "tRNS too short": chunk(b"tRNS", b"\0\1"),
    "tRNS too long": chunk(b"tRNS", bytes(9)),
    "a palette that only suggests": chunk(b"PLTE", bytes(3)),
    "acTL too short": chunk(b"acTL", b"\0\0"),
    "acTL of no frames": chunk(b"acTL", bytes(8)),
    "acTL twice": chunk(b"acTL", struct.pack(">II", 1, 0)) * 2,
    "fcTL too short": chunk(b"fcTL", bytes(5)),
    "eXIf of junk": chunk(b"eXIf", b"junk"),
    "an unknown chunk": chunk(b"abCd", b"junk"),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0hi", checksum=0xDEADBEEF),
    "a raw profile of junk": chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\nzzzz\n")
    ),
    "a raw profile of one line": chunk(b"tEXt", b"Raw profile type exif\0exif"),
}


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("name", ANCILLARY)
def test_ancillary_chunks_never_decide(name: str, before: bytes) -> None:
    assert np.array_equal(drawn(with_chunk(saved(scene()), ANCILLARY[name], before)), scene())


@pytest.mark.parametrize("missing", [4, 8, 12, 13, 16])
def test_a_missing_end_without_pixels_is_accepted(missing: int) -> None:
    """IEND, the last chunk's checksum, and the stream's checksum."""
    assert np.array_equal(drawn(saved(scene())[:-missing]), scene())


def test_a_wrong_chunk_checksum_is_accepted_if_the_stream_digest_matches() -> None:
    data = saved(scene())
    place = data.index(b"IDAT")
    idat = dict(chunks(data))[b"IDAT"]
    wrong_chunk = data[:place] + b"IDAT" + idat + bytes(4) + chunk(b"IEND", b"")
    assert np.array_equal(drawn(wrong_chunk), scene())
    for wrong_stream in (
        data[: place - 4] + chunk(b"IDAT", idat[:-4] + bytes(4)) + chunk(b"IEND", b""),
        data[:place] + b"IDAT" + idat[:-4] + bytes(8) + chunk(b"IEND", b""),
        data[: place - 4] + chunk(b"IDAT", idat[:-4], checksum=0) + chunk(b"IEND", b""),
    ):
        with pytest.raises(ImageCorrupt):
            opened(wrong_stream).check_complete()


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_damaged_chunk_that_affects_pixels_is_refused(kind: bytes) -> None:
    data = bytearray(png(halves([0], [1]), 8, 3, extra=palette(3, 8)))
    data[data.index(kind) + 5] ^= 1
    with pytest.raises(ImageCorrupt):
        opened(bytes(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: chunk(b"eXIf", t),
        lambda t: chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(b"Exif\0\0" + t))),
        lambda t: chunk(b"tEXt", b"Raw profile type APP1\0" + raw_profile(b"Exif\0\0" + t)),
        lambda t: chunk(b"iTXt", b"Raw profile type exif\0\1\0\0\0" + zlib.compress(raw_profile(t))),
    ],
    ids=["eXIf", "raw profile", "raw profile of APP1", "raw profile in iTXt"],
)
def test_an_orientation_is_read_from_exif(wrap, order: str) -> None:
    for value in range(2, 9):
        added = wrap(tiff(value, order))
        assert opened(with_chunk(saved(scene()), added)).orientation == value
        assert opened(with_chunk(saved(scene()), added, b"IEND")).orientation == value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + x),
        lambda x: chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(x)),
        lambda x: chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(raw_profile(x, "xmp"))),
    ],
    ids=["plain", "compressed", "raw profile"],
)
def test_an_orientation_is_read_from_xmp(wrap) -> None:
    assert opened(with_chunk(saved(scene()), wrap(xmp(6)))).orientation == 6
    both = wrap(xmp(6)) + chunk(b"eXIf", tiff(3))
    assert opened(with_chunk(saved(scene()), both)).orientation == 3


def test_an_orientation_in_a_text_of_another_kind_is_none() -> None:
    assert opened(with_chunk(saved(scene()), chunk(b"tEXt", b"Comment\0" + xmp(6)))).orientation == 1
