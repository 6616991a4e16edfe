"""Failures of images and of the tower: a class per failure, with our own texts.

No text quotes a library: library messages expose addresses, paths and bytes. The library's exception stays as
`__cause__` for the log. Metadata has limits and values as `limit` and `actual`.
"""

from __future__ import annotations

import grpc

from fovea.contract.errors import (
    AspectTooExtreme,
    FoveaError,
    InvalidArgument,
    Violation,
)

AspectTooExtreme = AspectTooExtreme


class RankingsBusy(FoveaError):
    """Too many images wait to be ranked. Retriable, like a full queue."""

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
    """The tower could not compute this image, even alone."""

    def __init__(self) -> None:
        super().__init__("the vision tower could not compute the rows of this image")


class TowerFailed(FoveaError):
    """The tower has failed for every image: the device failed or its worker ended. The process must be
    restarted.
    """

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENGINE_FAILED"

    def __init__(self) -> None:
        super().__init__("the vision tower has failed and this encoder serves no new image")


class DigestInvalid(InvalidArgument):
    """A text that is not an image id; `field` is its place in the request."""

    def __init__(self, actual: str, field: str = "digest") -> None:
        super().__init__(
            f"{field} must be sha256: and 64 lower-case hexadecimal digits",
            violations=[Violation(field, "must be sha256: and 64 lower-case hexadecimal digits")],
            actual=actual[:80],
        )


class ArenaOff(FoveaError):
    """This encoder does not serve rows in shared memory."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_SERVED"

    def __init__(self) -> None:
        super().__init__("this encoder has no arena: arena_bytes is 0, so ask for the rows with Encode")
