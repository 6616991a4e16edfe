"""Opens an image file and holds its header to the limits; no pixel is decoded here.

This is the only place that calls `Image.open`, and `guarded` the only place where Pillow's
exceptions end.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from encoder_svc.errors import (
    ImageAspectTooExtreme,
    ImageCorrupt,
    ImageEmpty,
    ImageFormatNotSupported,
    ImageSideTooLong,
    ImageTooLarge,
    ImageTooManyPixels,
    ImageTooManyScans,
)
from encoder_svc.images import jpeg
from encoder_svc.images.limits import ImageLimits
from fovea.contract.errors import FoveaError

# Our own limit is far below the size at which Pillow warns, and the warning would reach nobody but the log.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def sniff(data: bytes) -> str | None:
    """The format that the first bytes claim, whatever the file is called; None for all others."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    return None


@contextmanager
def guarded(format: str, limits: ImageLimits) -> Iterator[None]:
    """Turns whatever Pillow raises into one typed error with a text of ours.

    Pillow answers damaged files with OSError, SyntaxError, struct.error, ValueError, IndexError and
    more, and its texts hold memory addresses. Every Exception inside is Pillow's, so none of our
    own defects hides here.
    """
    try:
        yield
    except (FoveaError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        refused = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ImageTooManyPixels(0, 0, refused, limits.max_pixels) from error
    except Exception as error:
        raise ImageCorrupt(format) from error


def check_bytes(data: bytes, limits: ImageLimits) -> str:
    """The format of the file; a typed error where length, format or scans are not allowed."""
    if not data:
        raise ImageEmpty
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(len(data), limits.max_bytes)
    format = sniff(data)
    if format is None or format not in limits.formats:
        raise ImageFormatNotSupported(limits.formats)
    if format == "JPEG" and (found := jpeg.scans(data, limits.max_scans)) > limits.max_scans:
        raise ImageTooManyScans(found, limits.max_scans)
    return format


def check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise ImageTooManyPixels(width, height, width * height, limits.max_pixels)
    if max(width, height) > limits.max_side:
        raise ImageSideTooLong(width, height, limits.max_side)
    if max(width, height) > limits.max_aspect * min(width, height):
        raise ImageAspectTooExtreme(width, height, limits.max_aspect)


def opened(data: bytes, limits: ImageLimits) -> tuple[Image.Image, str]:
    """The image at its first frame, not yet decoded and within every limit, and its format.

    The format is the sniffed one: Pillow calls a JPEG with a second picture behind it MPO.
    """
    format = check_bytes(data, limits)
    with guarded(format, limits):
        image = Image.open(io.BytesIO(data), formats=(format,))
        check_size(*image.size, limits)
    return image, format
