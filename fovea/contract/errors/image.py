"""Images that cannot be served. Texts are fixed: they never quote a library or the bytes."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError, Violation
from fovea.contract.errors.request import InvalidArgument

SHRINK = "shrink it first, for example with `fit` of a client or `fovea ask --fit`"


class ImageInvalid(InvalidArgument):
    """An image that cannot be served as it is. `data` is the upload field with its bytes."""

    def __init__(self, message: str, violation: str, **metadata: object) -> None:
        super().__init__(message, violations=[Violation("data", violation)])
        self.metadata = {key: str(value) for key, value in metadata.items()}


class ImageEmpty(ImageInvalid):
    reason = "IMAGE_EMPTY"

    def __init__(self) -> None:
        super().__init__("the image has no bytes", "empty")


class ImageCorrupt(ImageInvalid):
    """Damaged, or with missing pixels."""

    reason = "IMAGE_CORRUPT"

    def __init__(self, format: str) -> None:
        super().__init__(
            f"the {format} image cannot be decoded: it is damaged or cut off",
            "damaged or cut off",
            format=format,
        )


class ImageFormatNotSupported(ImageInvalid):
    """`looks_like` is a guess from the first bytes, `advice` the fix; both may be empty."""

    reason = "IMAGE_FORMAT_NOT_SUPPORTED"

    def __init__(self, formats: tuple[str, ...], looks_like: str = "", advice: str = "") -> None:
        names = ", ".join(formats)
        guess = f"; they look like {looks_like}: {advice}" if looks_like else ""
        super().__init__(
            f"the bytes are not an image of a supported format ({names}){guess}",
            f"not one of {names}",
            supported=",".join(formats),
            **({"looks_like": looks_like} if looks_like else {}),
        )


class ImageTooLarge(ImageInvalid):
    reason = "IMAGE_TOO_LARGE"

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"the image has {actual} bytes; at most {limit} are allowed: {SHRINK}",
            f"more than {limit} bytes",
            limit=limit,
            actual=actual,
        )


class ImageTooManyPixels(ImageInvalid):
    """`width` and `height` are 0 if the file was refused before its size was known."""

    reason = "IMAGE_TOO_MANY_PIXELS"

    def __init__(self, width: int, height: int, actual: int, limit: int) -> None:
        super().__init__(
            f"the image has {actual} pixels or more; at most {limit} are allowed: {SHRINK}",
            f"more than {limit} pixels",
            width=width,
            height=height,
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
    """A progressive JPEG whose scans take seconds to decode; pixel limits do not catch it."""

    reason = "IMAGE_TOO_MANY_SCANS"

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"the JPEG has {actual} scans or more; at most {limit} are allowed",
            f"more than {limit} scans",
            limit=limit,
            actual=actual,
        )


class SizeInvalid(InvalidArgument):
    """An impossible width, height or pixel limit."""


class AspectTooExtreme(InvalidArgument):
    """The sides differ by a factor above 200: the model's processor refuses it, and so do we."""

    reason = "IMAGE_ASPECT_TOO_EXTREME"

    def __init__(self, width: int, height: int, limit: float) -> None:
        super().__init__(
            f"the image is {width}x{height}: one side may be at most {limit:g} times the other",
            violations=[Violation("width" if width > height else "height", f"aspect above {limit:g}")],
            width=width,
            height=height,
            limit=f"{limit:g}",
            actual=f"{max(width, height) / min(width, height):.1f}",
        )


class ImageNotStored(FoveaError):
    code = grpc.StatusCode.NOT_FOUND
    reason = "IMAGE_NOT_STORED"

    def __init__(self, digest: str) -> None:
        super().__init__(f"no image {digest} is stored here, or no longer: upload it again", digest=digest)


class DigestMismatch(InvalidArgument):
    """The bytes do not have the digest that the upload header announced."""

    reason = "DIGEST_MISMATCH"

    def __init__(self, announced: str, actual: str) -> None:
        super().__init__(
            f"the bytes have the digest {actual}, not the announced {announced}",
            violations=[Violation("header.digest", "not the digest of the bytes")],
            announced=announced,
            actual=actual,
        )
