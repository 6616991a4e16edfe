"""What can be wrong with an image file. The texts are fixed: what a library said, and what the bytes hold,
stays out.
"""

from __future__ import annotations

from fovea.contract.errors import InvalidArgument, Violation

SHRINK = "shrink it first, for example with `fit` of a client or `fovea ask --fit`"


class ImageInvalid(InvalidArgument):
    """An image that cannot be served as it is. `data` is the field of an upload that holds its bytes."""

    def __init__(self, message: str, violation: str, **metadata: object) -> None:
        super().__init__(message, violations=[Violation("data", violation)])
        self.metadata = {key: str(value) for key, value in metadata.items()}


class ImageEmpty(ImageInvalid):
    reason = "IMAGE_EMPTY"

    def __init__(self) -> None:
        super().__init__("the image has no bytes", "empty")


class ImageCorrupt(ImageInvalid):
    """Damaged, or without a part of its pixels."""

    reason = "IMAGE_CORRUPT"

    def __init__(self, format: str) -> None:
        super().__init__(
            f"the {format} image cannot be decoded: it is damaged or cut off",
            "damaged or cut off",
            format=format,
        )


class ImageFormatNotSupported(ImageInvalid):
    """`looks_like` is what the first bytes suggest, and `advice` what to do then; both may be empty."""

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


class ImageTooManyPixels(ImageInvalid):
    """`width` and `height` are 0 where the file was refused before its size was known."""

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
