"""JPEG: the segments that determine pixels, and whether all coefficients are present.

APPn segments and comments never decide whether an image is shown. Pillow gets only the Adobe segment and a
plain JFIF segment, because these select the colour space.

libjpeg fills in missing data with only a warning, which Pillow drops. So completeness is checked in two
steps: the scan headers must cover all coefficients of all components, and libjpeg-turbo must read the
entropy-coded data without a warning (through simplejpeg, at 1/8 size, which skips most of the transform).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import simplejpeg

from fovea.contract.errors import ImageCorrupt
from fovea.images import metadata
from fovea.images.still import Drawn, Still, flat, loaded

MOST_SEGMENTS = 20_000
"""A file of 32 MiB holds 512 full segments; unbounded empty segments would cost seconds of CPU."""

_START, _END, _SCAN, _TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01
_APP0, _APP1, _ADOBE, _COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3)
_FRAMES = (*_HUFFMAN_FRAMES, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_PROGRESSIVE = 0xC2
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
# In entropy-coded data FF 00 is a byte FF, FF FF is padding, FF D0..D7 are restarts; others are markers.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_UNREADABLE = "tjDecompress"
"""The prefix of simplejpeg's own error texts, as opposed to libjpeg's."""
_END_OF_DATA = re.compile(rb"\xff+[\xd0-\xd7]|\Z")
_FILLER = bytes((151 * step + 57) % 255 for step in range(255))
"""Changes many pixels if it is decoded as data, and contains no marker."""
_BEHIND_DATA = re.compile(r"(\d+) extraneous bytes? before marker 0xd9")
_PADDING = 64
"""Trailing bytes that cameras leave after the last scan. More than these must all be equal."""

Coefficient = tuple[int, int]
"""A component id, and an index in zigzag order; 0 stands for all in sequential scans."""


class Segment(NamedTuple):
    """`body` excludes the length. For a scan, `data` is the entropy-coded data after it."""

    marker: int
    body: bytes
    data: bytes = b""

    @property
    def raw(self) -> bytes:
        return b"\xff%c%b%b%b" % (self.marker, (len(self.body) + 2).to_bytes(2, "big"), self.body, self.data)


@dataclass(frozen=True)
class Frame:
    progressive: bool
    width: int
    height: int
    components: bytes
    """The id of each component."""

    @classmethod
    def of(cls, segment: Segment) -> Frame:
        body = segment.body
        count = body[5] if len(body) > 5 else 0
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        # Truncation of arithmetic coding is undetectable, and no browser supports it.
        if (
            segment.marker not in _HUFFMAN_FRAMES
            or len(body) < 6 + 3 * count
            or not (count and width and height)
        ):
            raise ImageCorrupt("JPEG")
        return cls(segment.marker == _PROGRESSIVE, width, height, body[6 : 6 + 3 * count : 3])


@dataclass(frozen=True)
class Jpeg(Still):
    """A JPEG reduced to what determines its pixels. An end marker is added if the file has none."""

    format = "JPEG"
    frame: Frame
    segments: Sequence[Segment]

    @property
    def file(self) -> bytes:
        return _file(self.segments)

    def check_complete(self) -> None:
        colours = "CMYK" if len(self.frame.components) == 4 else "GRAY"
        file = _file(_needed(self.frame, self.segments))
        try:
            simplejpeg.decode_jpeg(file, colours, min_height=1, min_width=1, min_factor=8, strict=True)
        except ValueError as warning:
            if str(warning).startswith(_UNREADABLE):
                self._check_by_filler()
            elif not self._padded(str(warning)):
                raise ImageCorrupt("JPEG") from warning

    def _padded(self, warning: str) -> bool:
        """Whether libjpeg read everything and warns of trailing bytes only.

        Many trailing bytes mean that it lost synchronization.
        """
        match = _BEHIND_DATA.search(warning)
        extra_bytes = int(match[1]) if match else 0
        scans = [segment.data for segment in self.segments if segment.marker == _SCAN]
        return extra_bytes > 0 and (extra_bytes <= _PADDING or len(set(scans[-1][-extra_bytes:])) == 1)

    def _check_by_filler(self) -> None:
        """For pixel layouts that simplejpeg does not support.

        Bytes after the end of complete data change nothing.
        """
        filled = _file(
            [_filled(segment) if segment.marker == _SCAN else segment for segment in self.segments]
        )
        if not np.array_equal(np.asarray(loaded(self.file, "JPEG")), np.asarray(loaded(filled, "JPEG"))):
            raise ImageCorrupt("JPEG")

    def draw(self) -> Drawn:
        return flat(loaded(self.file, "JPEG"))


def read(data: bytes) -> Jpeg:
    """The first image of the file. Raises ImageCorrupt without a frame that browsers show."""
    segments = list(_segments(data))
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if len(frames) != 1:
        raise ImageCorrupt("JPEG")
    turned = metadata.orientation_of_jpeg(segment.body for segment in segments if segment.marker == _APP1)
    frame = Frame.of(frames[0])
    return Jpeg(frame.width, frame.height, turned, frame, segments)


def scan_count(data: bytes, stop_after: int) -> int:
    """The number of scans, counted up to `stop_after` + 1.

    Each scan of a progressive JPEG passes over the whole image: 4,000 empty scans in 631 KB cost a decoder 37
    seconds.
    """
    count = 0
    for segment in _segments(data):
        count += segment.marker == _SCAN
        if count > stop_after:
            break
    return count


def _segments(data: bytes) -> Iterator[Segment]:
    """All segments before the end marker. A scan extends to the next marker or to the end of the file."""
    position = 0
    for _ in range(MOST_SEGMENTS):
        match = _MARKER.search(data, position)
        marker = data[match.start(1)] if match else _END
        if match is None or marker == _END:
            return
        position = match.end()
        if marker in (_START, _TEMPORARY):  # these have no length
            continue
        end = position + max(2, int.from_bytes(data[position : position + 2], "big"))
        body, position = data[position + 2 : end], end
        if marker != _SCAN:
            yield Segment(marker, body)
            continue
        following = _MARKER.search(data, position)
        stop = following.start() if following else len(data)
        yield Segment(marker, body, data[position:stop].rstrip(b"\xff"))
        position = stop
    raise ImageCorrupt("JPEG")


def _filled(scan: Segment) -> Segment:
    """Append filler to the data of each restart interval."""
    return scan._replace(data=_END_OF_DATA.sub(lambda end: _FILLER + end[0], scan.data))


def _file(segments: Sequence[Segment]) -> bytes:
    return b"".join([b"\xff\xd8", *_kept(segments), b"\xff\xd9"])


def _kept(segments: Sequence[Segment]) -> Iterator[bytes]:
    """The colour space segments first, as a reader needs them before the frame; then all but metadata."""
    if any(segment.marker == _APP0 and segment.body.startswith(b"JFIF\0") for segment in segments):
        yield _JFIF
    for segment in segments:
        adobe = segment.marker == _ADOBE and segment.body.startswith(b"Adobe") and len(segment.body) >= 12
        if adobe or not (_APP0 <= segment.marker <= 0xEF or segment.marker == _COMMENT):
            yield segment.raw


def _needed(frame: Frame, segments: Sequence[Segment]) -> list[Segment]:
    """All segments but scans that only repeat earlier ones.

    libjpeg warns of repeats and reports only its first warning. Raises ImageCorrupt unless the scans together
    send every coefficient of every component to its last bit.
    """
    missing = {
        (component, at) for component in frame.components for at in range(64 if frame.progressive else 1)
    }
    needed = []
    for segment in segments:
        if segment.marker == _SCAN:
            named, finished = _sent(frame, segment)
            if not named & missing:
                continue
            missing -= finished
        needed.append(segment)
    if missing:
        raise ImageCorrupt("JPEG")
    return needed


def _sent(frame: Frame, scan: Segment) -> tuple[set[Coefficient], set[Coefficient]]:
    """The coefficients that a scan names, and those whose last bit it sends."""
    count = scan.body[0] if scan.body else 0
    first, last, bits = scan.body[1 + 2 * count :][:3].ljust(3, b"\xff")
    positions = range(first, min(last, 63) + 1) if frame.progressive else range(1)
    named = {(component, at) for component in scan.body[1 : 1 + 2 * count : 2] for at in positions}
    return named, set() if frame.progressive and bits & 15 else named
