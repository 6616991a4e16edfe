"""What is known of a stored image: measured once, when it is uploaded, and kept with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageFacts:
    """Sizes are what a viewer shows (EXIF orientation applied); `format` is JPEG, PNG, WEBP or GIF.

    `digest` is the SHA-256 id of the bytes, `pixel_digest` that of the canonical pixels. `text_height` is in
    pixels of this size and 0 where no text was found, `edge_density` and `uniform_share` are shares of pixels
    and of 32x32 squares, `kind` is TEXT, GRAPHIC, PHOTO or UNSPECIFIED.
    """

    digest: str
    pixel_digest: str
    format: str
    byte_size: int
    width: int
    height: int
    exif_orientation: int
    had_alpha: bool
    text_height: float = 0.0
    edge_density: float = 0.0
    uniform_share: float = 0.0
    kind: str = "UNSPECIFIED"


@dataclass(frozen=True)
class StoredImage:
    """An image that an encoder holds; `expires` in seconds since the epoch, sooner where it is full."""

    facts: ImageFacts
    already: bool
    expires: float
    encoder: str = ""
