"""From bytes to a Still, by file signature and regardless of the file name."""

from __future__ import annotations

from collections.abc import Callable

from fovea.contract.errors import ImageEmpty, ImageFormatNotSupported, ImageTooManyPixels
from fovea.images import gif, jpeg, png, webp
from fovea.images.kinds import CONVERT, advice_on
from fovea.images.still import Still

_READ: dict[str, Callable[[bytes], Still]] = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "WEBP": webp.read,
    "GIF": gif.read,
}
FORMATS = tuple(_READ)


MOST_PIXELS = 178_956_970
"""The default pixel limit. Pillow refuses larger images too."""


def opened(data: bytes, formats: tuple[str, ...] = FORMATS, most_pixels: int = MOST_PIXELS) -> Still:
    """The structure of a file.

    Raises ImageEmpty, ImageFormatNotSupported, ImageCorrupt or ImageTooManyPixels.
    """
    still = _READ[recognised(data, formats)](data)
    count = still.width * still.height
    if count > most_pixels:
        raise ImageTooManyPixels(still.width, still.height, count, most_pixels)
    return still


def recognised(data: bytes, formats: tuple[str, ...] = FORMATS) -> str:
    """The format of a file, among `formats`. Raises ImageEmpty or ImageFormatNotSupported."""
    if not data:
        raise ImageEmpty
    format = sniff(data)
    if format is None:
        raise ImageFormatNotSupported(formats, *advice_on(data))
    if format not in formats:
        raise ImageFormatNotSupported(formats, format, CONVERT)
    return format


def sniff(data: bytes) -> str | None:
    """The format by signature, or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(png.SIGNATURE):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    return None
