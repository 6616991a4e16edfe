"""Facts about a stored image, measured once at upload and stored with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fovea.contract.codec import EnumCodec, pick
from fovea.vision.v1 import image_pb2


class ImageKind(StrEnum):
    """The dominant content of an image."""

    UNSPECIFIED = "UNSPECIFIED"
    TEXT = "TEXT"
    GRAPHIC = "GRAPHIC"
    PHOTO = "PHOTO"
    BLANK = "BLANK"
    CHART = "CHART"
    TABLE = "TABLE"
    DRAWING = "DRAWING"


_KIND = EnumCodec(image_pb2.ImageKind, ImageKind)


@dataclass(frozen=True)
class ImageFacts:
    """Sizes are as displayed (EXIF orientation applied); `format` is JPEG, PNG, WEBP or GIF.

    `digest` is the SHA-256 id of the bytes, `pixel_digest` that of the canonical pixels. `text_height` is in
    pixels at this size, 0 if no text was detected. `edge_density` is a share of pixels, `uniform_share` a
    share of 32x32 cells. `kind_confidence` is that of the learned gate, 0 if rules decided the kind.
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
    kind: ImageKind = ImageKind.UNSPECIFIED
    kind_confidence: float = 0.0


@dataclass(frozen=True)
class StoredImage:
    """An image that an encoder holds.

    `already` means that the image was stored before. `expires` is in epoch seconds; a full store evicts the
    image sooner.
    """

    facts: ImageFacts
    already: bool
    expires: float
    encoder: str = ""


def kind_to_proto(kind: ImageKind) -> image_pb2.ImageKind.ValueType:
    return image_pb2.ImageKind.Value(f"IMAGE_KIND_{kind}")


def kind_from_proto(number: image_pb2.ImageKind.ValueType) -> ImageKind:
    """UNSPECIFIED for an unknown number."""
    return _KIND.from_proto(number) or ImageKind.UNSPECIFIED


def grid_to_proto(grid: tuple[int, int, int]) -> image_pb2.GridThw:
    return image_pb2.GridThw(t=grid[0], h=grid[1], w=grid[2])


def _format_from_proto(number: image_pb2.ImageFormat.ValueType) -> str:
    """UNSPECIFIED for an unknown number."""
    known = number in image_pb2.ImageFormat.values()
    return image_pb2.ImageFormat.Name(number).removeprefix("IMAGE_FORMAT_") if known else "UNSPECIFIED"


_PLAIN = (
    "digest", "pixel_digest", "byte_size", "exif_orientation", "had_alpha", "text_height", "edge_density",
    "uniform_share", "kind_confidence",
)  # fmt: skip


def facts_to_proto(facts: ImageFacts) -> image_pb2.ImageFacts:
    return image_pb2.ImageFacts(
        format=image_pb2.ImageFormat.Value(f"IMAGE_FORMAT_{facts.format}"),
        size=image_pb2.Size(width=facts.width, height=facts.height),
        kind=kind_to_proto(facts.kind),
        **pick(facts, _PLAIN),
    )


def facts_from_proto(message: image_pb2.ImageFacts) -> ImageFacts:
    return ImageFacts(
        format=_format_from_proto(message.format),
        width=message.size.width,
        height=message.size.height,
        kind=kind_from_proto(message.kind),
        **pick(message, _PLAIN),
    )


def timestamp(seconds: float) -> Timestamp:
    """Epoch seconds as a message."""
    message = Timestamp()
    message.FromNanoseconds(int(seconds * 1e9))
    return message


def stored_from_proto(message: Any) -> StoredImage:
    """From a PutImageResponse or DescribeImageResponse of either service."""
    return StoredImage(
        facts=facts_from_proto(message.facts),
        already=getattr(message, "already_stored", True),
        expires=message.expire_time.seconds + message.expire_time.nanos / 1e9,
        encoder=getattr(message, "encoder", ""),
    )
