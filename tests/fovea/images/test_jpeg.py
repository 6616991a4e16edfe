"""JPEG: complete scans or refused; APPn segments are irrelevant; the end marker is optional."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from fovea.contract.errors import ImageCorrupt
from fovea.images import opened, shown
from tests.fovea.images.files import drawn, saved, scan_starts, scene, segment, tiff, with_segment, xmp

END = b"\xff\xd9"
KINDS = {
    "baseline": ("RGB", {}),
    "grey": ("L", {}),
    "of 4:2:0": ("RGB", {"subsampling": "4:2:0"}),
    "with restarts": ("RGB", {"restart_marker_blocks": 3}),
    "RGB as it is": ("RGB", {"keep_rgb": True}),
    "progressive": ("RGB", {"progressive": True}),
    "progressive with restarts": ("RGB", {"progressive": True, "restart_marker_rows": 1}),
    "progressive grey": ("L", {"progressive": True}),
    "CMYK": ("CMYK", {}),
    "CMYK of a rare sampling": ("CMYK", {"subsampling": "4:2:0"}),
}
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def jpeg(kind: str = "baseline") -> bytes:
    """A JPEG of noise, so that every byte carries pixels."""
    mode, options = KINDS[kind]
    noise = np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)
    return saved(Image.fromarray(noise).convert(mode), "JPEG", quality=90, **options)


def pillows(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def refused(data: bytes) -> bool:
    try:
        opened(data).check_complete()
    except ImageCorrupt:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_drawn_with_or_without_its_end_marker(kind: str) -> None:
    data = jpeg(kind)
    assert np.array_equal(drawn(data), pillows(data))
    assert np.array_equal(drawn(data.removesuffix(END)), pillows(data))
    assert np.array_equal(drawn(data.removesuffix(END) + b"\xff"), pillows(data))
    assert np.array_equal(drawn(data + b"junk" * 9), pillows(data))


@pytest.mark.parametrize("closed", [END, b""])
@pytest.mark.parametrize("kind", KINDS)
def test_truncated_data_is_not_filled_in(kind: str, closed: bytes) -> None:
    data = jpeg(kind).removesuffix(END)
    begins = scan_starts(data)[0] + 2
    for cut in np.linspace(begins, len(data) - 2, 25).astype(int):
        assert refused(data[:cut] + closed), cut


@pytest.mark.parametrize("kind", ["progressive", "progressive grey", "progressive with restarts"])
def test_each_scan_of_a_progressive_picture_is_needed(kind: str) -> None:
    """A file truncated between scans has no damaged data."""
    data = jpeg(kind)
    for start in scan_starts(data)[1:]:
        assert refused(data[:start] + END), start


def test_a_component_without_a_scan_is_missing() -> None:
    """The scan of a baseline image, relabelled as its first component only."""
    data = jpeg("RGB as it is")
    (start,) = scan_starts(data)
    body = data[start + 4 : start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")]
    alone = segment(0xDA, b"\1" + body[1:3] + body[-3:])
    assert refused(data[:start] + alone + data[start + 2 + len(body) + 2 :])


def test_missing_restart_intervals_are_missing_pixels() -> None:
    data = jpeg("with restarts")
    first, second = data.index(b"\xff\xd2"), data.index(b"\xff\xd3")
    assert refused(data[:first] + data[second:])


def test_a_gap_in_the_data_is_detected() -> None:
    """The decoder resynchronizes after the gap, and the data ends early."""
    data = saved(scene(400, 300), "JPEG")
    for at in range(scan_starts(data)[0] + 20, len(data) - 400, len(data) // 20):
        assert refused(data[:at] + data[at + 300 :]), at


def test_many_trailing_bytes_mean_lost_synchronization() -> None:
    """Real padding is uniform."""
    data = jpeg().removesuffix(END)
    assert refused(data + bytes(range(1, 201)) + END)
    assert not refused(data + b"\x55" * 5000 + END)
    assert not refused(data + bytes(range(1, 41)) + END)


def test_padding_behind_the_last_scan_is_no_damage() -> None:
    data = jpeg().removesuffix(END)
    assert np.array_equal(drawn(data + bytes(40) + END), pillows(data + END))


def test_a_header_that_claims_more_rows_than_there_are_is_refused() -> None:
    data = bytearray(jpeg())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 7] = struct.pack(">H", 5000)
    assert refused(bytes(data))


def test_arithmetic_coding_is_refused() -> None:
    """Its data may end early by design, so truncation is undetectable; no browser supports it."""
    assert refused(jpeg().replace(b"\xff\xc0", b"\xff\xc9"))


METADATA = {
    "EXIF of junk": segment(0xE1, EXIF + b"XXXX\0\0\0\x08" + bytes(20)),
    "EXIF cut off": segment(0xE1, EXIF + b"II*\0"),
    "EXIF that points outside": segment(0xE1, EXIF + b"II*\0\xff\xff\xff\xff"),
    "EXIF of 65535 entries": segment(0xE1, EXIF + b"II*\0\x08\0\0\0\xff\xff" + bytes(300)),
    "a thumbnail of 60000x60000": segment(
        0xE1, EXIF + b"\xff\xd8\xff\xc0\0\x11\x08\xea\x60\xea\x60\3" + bytes(9)
    ),
    "XMP of junk": segment(0xE1, XMP + b"\xff\xfe" * 99),
    "JFIF of a future revision": segment(0xE0, b"JFIF\0\x09\x09\0\0\1\0\1\0\0"),
    "JFIF cut off": segment(0xE0, b"JFIF\0"),
    "JFXX of junk": segment(0xE0, b"JFXX\0\x10junk"),
    "a profile of junk": segment(0xE2, b"ICC_PROFILE\0\1\1" + b"junk" * 99),
    "a profile whose parts are missing": segment(0xE2, b"ICC_PROFILE\0\7\x09" + bytes(99)),
    "MPF of junk": segment(0xE2, b"MPF\0junk"),
    "Photoshop resources of junk": segment(0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff\xff\xff"),
    "an Adobe segment cut off": segment(0xEE, b"Adobe\0"),
    "a comment of 64 KiB": segment(0xFE, b"\xff" * 65_000),
    "an empty segment": segment(0xE5, b""),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_never_decides(name: str) -> None:
    data = jpeg()
    assert np.array_equal(drawn(with_segment(data, METADATA[name])), pillows(data))
    before_scan = scan_starts(data)[0]
    assert np.array_equal(drawn(data[:before_scan] + METADATA[name] + data[before_scan:]), pillows(data))


def test_the_adobe_segment_still_chooses_the_colour_space() -> None:
    for kind in ("CMYK", "RGB as it is"):
        assert np.array_equal(drawn(jpeg(kind)), pillows(jpeg(kind)))
    plain = jpeg("RGB as it is")
    place = plain.index(b"\xff\xee")
    without = plain[:place] + plain[place + 2 + int.from_bytes(plain[place + 2 : place + 4], "big") :]
    assert np.array_equal(drawn(without), pillows(without))


def test_the_first_of_several_pictures_is_shown() -> None:
    first, second = Image.fromarray(scene()), Image.new("RGB", (48, 32), "blue")
    data = saved(first, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(drawn(data), pillows(data))
    cut_in_the_second = data[: data.index(b"\xff\xd8", 100) + 200]
    assert np.array_equal(drawn(cut_in_the_second), pillows(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("type", [1, 3, 4])
def test_an_orientation_is_read_from_exif(type: int, order: str) -> None:
    for value in range(1, 9):
        data = with_segment(jpeg(), segment(0xE1, EXIF + tiff(value, order, type)))
        assert opened(data).orientation == value


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_out_of_range_is_upright(value: int) -> None:
    assert opened(with_segment(jpeg(), segment(0xE1, EXIF + tiff(value)))).orientation == 1


def test_xmp_orientation_applies_if_exif_has_none() -> None:
    lying = with_segment(jpeg(), segment(0xE1, XMP + xmp(8)))
    assert opened(lying).orientation == 8
    assert opened(with_segment(lying, segment(0xE1, EXIF + b"junk"))).orientation == 8
    assert opened(with_segment(lying, segment(0xE1, EXIF + tiff(3)))).orientation == 3
    assert shown(opened(lying)).image.size == (50, 70)
