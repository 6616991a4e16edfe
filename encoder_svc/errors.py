"""What can go wrong with an image or with the tower: one class a failure, texts of our own.

No text here holds what a library said: such texts name addresses, paths and bytes. The library's
exception stays behind as `__cause__`, for the log. Limits and values stand in the metadata as
`limit` and `actual`.
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


class ArenaOff(FoveaError):
    """Rows are not handed out in shared memory here."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_SERVED"

    def __init__(self) -> None:
        super().__init__("this encoder has no arena: arena_bytes is 0, so ask for the rows with Encode")
