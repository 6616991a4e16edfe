"""Opens an image file and checks its header against the limits. Decodes no pixels."""

from __future__ import annotations

from encoder_svc.images.limits import ImageLimits
from fovea import images
from fovea.contract.errors import AspectTooExtreme, ImageSideTooLong, ImageTooLarge, ImageTooManyScans
from fovea.images.jpeg import scan_count
from fovea.images.opening import recognised

SCANS = 16
"""The most scans of a JPEG that has `max_image_pixels`; common encoders write 10."""


def opened(data: bytes, limits: ImageLimits) -> images.Still:
    """The image at its first frame, not yet decoded, within every limit."""
    _check_bytes(data, limits)
    still = images.opened(data, limits.formats, limits.max_image_pixels)
    _check_sides(still.width, still.height, limits)
    if still.format == "JPEG":
        _check_scans(data, still.width * still.height, limits)
    return still


def _check_bytes(data: bytes, limits: ImageLimits) -> None:
    """Raises a typed error if length, format or scan count is not allowed."""
    if len(data) > limits.max_image_bytes:
        raise ImageTooLarge(len(data), limits.max_image_bytes)
    format = recognised(data, limits.formats)
    if format == "JPEG" and (scans := scan_count(data, limits.max_jpeg_scans)) > limits.max_jpeg_scans:
        raise ImageTooManyScans(scans, limits.max_jpeg_scans)


def _check_scans(data: bytes, pixels: int, limits: ImageLimits) -> None:
    """A large image may have fewer scans: each passes over all pixels."""
    allowed = max(1, SCANS * limits.max_image_pixels // pixels)
    if allowed < limits.max_jpeg_scans and (scans := scan_count(data, allowed)) > allowed:
        raise ImageTooManyScans(scans, allowed)


def _check_sides(width: int, height: int, limits: ImageLimits) -> None:
    if max(width, height) > limits.max_image_side:
        raise ImageSideTooLong(width, height, limits.max_image_side)
    if max(width, height) > limits.max_image_aspect * min(width, height):
        raise AspectTooExtreme(width, height, limits.max_image_aspect)
