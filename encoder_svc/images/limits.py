"""Limits of an image file. Each number is a setting and a field of GetServerInfo."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """Checked on the header, before decoding. A file must meet all of them."""

    max_image_bytes: int = 32 * 1024 * 1024
    max_image_pixels: int = 25_000_000
    max_image_side: int = 16_384
    max_image_aspect: int = 200
    max_jpeg_scans: int = 100
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF")
