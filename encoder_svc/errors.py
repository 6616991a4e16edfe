"""What can go wrong with an image or with the tower: one class a failure, texts of our own.

No text here holds what a library said: such texts name addresses, paths and bytes. The library's
exception stays behind as `__cause__`, for the log. Limits and values stand in the metadata as
`limit` and `actual`.
"""

from __future__ import annotations

import grpc

from fovea.checkpoint import CheckpointNotSupported
from fovea.contract.errors import FoveaError, InvalidArgument, Violation
from fovea.geometry import AspectTooExtreme
from fovea.images.errors import (
    SHRINK,
    ImageCorrupt,
    ImageEmpty,
    ImageFormatNotSupported,
    ImageInvalid,
    ImageTooManyPixels,
)

__all__ = [
    "CheckpointNotSupported",
    "DigestMismatch",
    "EncodeFailed",
    "EncoderBusy",
    "ImageAspectTooExtreme",
    "ImageCorrupt",
    "ImageEmpty",
    "ImageFormatNotSupported",
    "ImageInvalid",
    "ImageNotStored",
    "ImageSideTooLong",
    "ImageTooLarge",
    "ImageTooManyPixels",
    "ImageTooManyScans",
    "TowerFailed",
]

ImageAspectTooExtreme = AspectTooExtreme


class ImageTooLarge(ImageInvalid):
    reason = "IMAGE_TOO_LARGE"

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"the image has {actual} bytes; at most {limit} are allowed: {SHRINK}",
            f"more than {limit} bytes",
            limit=limit,
            actual=actual,
        )


class ImageSideTooLong(ImageInvalid):
    reason = "IMAGE_SIDE_TOO_LONG"

    def __init__(self, width: int, height: int, limit: int) -> None:
        super().__init__(
            f"the image is {width}x{height}; a side may have at most {limit} pixels: {SHRINK}",
            f"a side above {limit} pixels",
            width=width,
            height=height,
            limit=limit,
            actual=max(width, height),
        )


class ImageTooManyScans(ImageInvalid):
    """A progressive JPEG whose scans cost seconds to decode: pixel limits do not help against it."""

    reason = "IMAGE_TOO_MANY_SCANS"

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"the JPEG has {actual} scans or more; at most {limit} are allowed",
            f"more than {limit} scans",
            limit=limit,
            actual=actual,
        )


class ImageNotStored(FoveaError):
    code = grpc.StatusCode.NOT_FOUND
    reason = "IMAGE_NOT_STORED"

    def __init__(self, digest: str) -> None:
        super().__init__(f"no image {digest} is stored here, or no longer: upload it again", digest=digest)


class DigestMismatch(InvalidArgument):
    """The bytes are not those that the header of the upload announced."""

    reason = "DIGEST_MISMATCH"

    def __init__(self, announced: str, actual: str) -> None:
        super().__init__(
            f"the bytes have the digest {actual}, not the announced {announced}",
            violations=[Violation("header.digest", "not the digest of the bytes")],
            announced=announced,
            actual=actual,
        )


class EncoderBusy(FoveaError):
    """The queue before the tower is full. Worth trying again, here later or on another encoder."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENCODER_BUSY"

    def __init__(self, waiting: int, limit: int, retry_after_s: float) -> None:
        super().__init__(
            f"{waiting} images wait for the vision tower; at most {limit} may",
            retry_after_s=retry_after_s,
            limit=limit,
            actual=waiting,
        )


class RankingsBusy(FoveaError):
    """Too many images wait for their order of rows. Worth trying again, as with a full queue."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENCODER_BUSY"

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(
            f"{waiting} images wait to be ranked; at most {limit} may",
            retry_after_s=1.0,
            limit=limit,
            actual=waiting,
        )


class EncodeFailed(FoveaError):
    """The tower could not compute this image, tried alone."""

    def __init__(self) -> None:
        super().__init__("the vision tower could not compute the rows of this image")


class TowerFailed(FoveaError):
    """The tower is gone, for every image: the device failed or its worker ended. Start the process
    again.
    """

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENGINE_FAILED"

    def __init__(self) -> None:
        super().__init__("the vision tower has failed and this encoder serves no new image")


class DigestInvalid(InvalidArgument):
    """A text that is no id of an image; `field` is where it stood in the request."""

    def __init__(self, actual: str, field: str = "digest") -> None:
        super().__init__(
            f"{field} must be sha256: and 64 lower-case hexadecimal digits",
            violations=[Violation(field, "must be sha256: and 64 lower-case hexadecimal digits")],
            actual=actual[:80],
        )


class MaxPixelsOutOfRange(InvalidArgument):
    """A max_pixels that the checkpoint's processor cannot keep."""

    def __init__(self, least: int, most: int, actual: int) -> None:
        super().__init__(
            f"max_pixels {actual} is outside of {least} to {most}, the checkpoint's own limits",
            violations=[Violation("plan.max_pixels", f"must be between {least} and {most}")],
            least=least,
            limit=most,
            actual=actual,
        )


class EncoderMismatch(FoveaError):
    """The caller expects rows of another model."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ENCODER_MISMATCH"

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(
            f"this encoder serves rows {actual}, not {expected[:80]}", expected=expected[:80], actual=actual
        )


class StoreFull(FoveaError):
    """An upload that could not be kept: the disk refuses, or it is larger than the whole area."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "STORE_FULL"

    def __init__(self, why: str, actual: int) -> None:
        super().__init__(f"the image of {actual} bytes could not be stored: {why}", why=why, actual=actual)


class ArenaFull(FoveaError):
    """No room in shared memory beside what is leased. Worth asking for over the wire."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ARENA_FULL"

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"{actual} bytes of rows find no place in the arena of {limit} bytes", limit=limit, actual=actual
        )


class ArenaOff(FoveaError):
    """Rows are not handed out in shared memory here."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_SERVED"

    def __init__(self) -> None:
        super().__init__("this encoder has no arena: arena_bytes is 0, so ask for the rows with Encode")


class NotReady(FoveaError):
    """The model is still being loaded."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"

    def __init__(self, progress: float) -> None:
        super().__init__(
            f"the model is still loading ({progress:.0%})", retry_after_s=1.0, progress=f"{progress:.2f}"
        )
