"""Opens an image file and checks its header against the limits. Decodes no pixels."""

from __future__ import annotations

from encoder_svc.images.limits import ImageLimits
from fovea import images
from fovea.contract.errors import AspectTooExtreme, ImageSideTooLong, ImageTooLarge, ImageTooManyScans
from fovea.images.jpeg import scan_count
from fovea.images.opening import recognised


def opened(data: bytes, limits: ImageLimits) -> images.Still:
    """The image at its first frame, not yet decoded, within every limit."""
    _check_bytes(data, limits)
    still = images.opened(data, limits.formats, limits.max_image_pixels)
    _check_sides(still.width, still.height, limits)
    return still


def _check_bytes(data: bytes, limits: ImageLimits) -> None:
    """Raises a typed error if length, format or scan count is not allowed."""
    if len(data) > limits.max_image_bytes:
        raise ImageTooLarge(len(data), limits.max_image_bytes)
    format = recognised(data, limits.formats)
    if format == "JPEG" and (scans := scan_count(data, limits.max_jpeg_scans)) > limits.max_jpeg_scans:
        raise ImageTooManyScans(scans, limits.max_jpeg_scans)


def _check_sides(width: int, height: int, limits: ImageLimits) -> None:
    if max(width, height) > limits.max_image_side:
        raise ImageSideTooLong(width, height, limits.max_image_side)
    if max(width, height) > limits.max_image_aspect * min(width, height):
        raise AspectTooExtreme(width, height, limits.max_image_aspect)
