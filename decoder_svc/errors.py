"""The decoder's failures: one class each, with its canonical code, its reason and the facts it
carries.

Each constructor takes the facts and writes the message, so that the same failure reads the same
everywhere. This module knows no RPC handler and no engine; `fovea.contract.errors` says what a failure is.
"""

from __future__ import annotations

import grpc

from fovea.contract.errors import (
    EncoderUnavailable,
    EngineUnavailable,
    FoveaError,
    InvalidArgument,
    Violation,
)


class RowsInterrupted(FoveaError):
    """The stream of an image's rows was cut off before its end."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENCODER_UNAVAILABLE"

    def __init__(self, start: int) -> None:
        super().__init__(
            f"the stream of the rows of the image at token {start} was cut off",
            retry_after_s=1.0,
            token=start,
        )


class RequestFailed(FoveaError):
    """The engine could not compute one request, tried alone; others go on."""

    def __init__(self) -> None:
        super().__init__("the engine could not compute this request")


class EngineNotInstalled(EngineUnavailable):
    """The engine that the settings name is not in this environment."""

    def __init__(self, package: str, why: str) -> None:
        super().__init__(f"{why}; `make test-vllm` shows how an environment for it is made", package=package)


class EncoderChanged(EncoderUnavailable):
    """An encoder sends other rows than it announced: it was started again with other settings meanwhile. What
    was asked of it before has to be asked again.
    """


class FormatTooLarge(InvalidArgument):
    """A response_format of more bytes than this server looks at."""

    def __init__(self, field: str, limit: int, actual: int) -> None:
        super().__init__(
            f"{field} has {actual} bytes; at most {limit} are allowed",
            violations=[Violation(field, f"more than {limit} bytes")],
            limit=limit,
            actual=actual,
        )


class FormatNotEnforceable(InvalidArgument):
    """A response_format that is wrong, or uses what is not enforced."""

    def __init__(self, field: str, why: str) -> None:
        told = why if len(why) <= 300 else f"{why[:299]}…"
        super().__init__(f"{field} cannot be enforced: {told}", violations=[Violation(field, told)])
