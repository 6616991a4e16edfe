"""Errors of the decoder: a class per failure, with its canonical code, reason and metadata.

Each constructor takes the facts and writes the message, so that a failure reads the same everywhere.
Independent of RPC handlers and engines; `fovea.contract.errors` defines the base class.
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
    """The row stream of an image was cut off before its end."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENCODER_UNAVAILABLE"

    def __init__(self, start: int) -> None:
        super().__init__(
            f"the stream of the rows of the image at token {start} was cut off",
            retry_after_s=1.0,
            token=start,
        )


class RequestFailed(FoveaError):
    """The engine could not compute this request even on its own; other requests continue."""

    def __init__(self) -> None:
        super().__init__("the engine could not compute this request")


class EngineNotInstalled(EngineUnavailable):
    """The configured engine is not installed in this environment."""

    def __init__(self, package: str, why: str) -> None:
        super().__init__(f"{why}; `make test-vllm` shows how an environment for it is made", package=package)


class EncoderChanged(EncoderUnavailable):
    """An encoder sends rows other than announced: it restarted with other settings. Earlier answers of this
    encoder are void, so the handshake and the row placement must be repeated.
    """


class FormatTooLarge(InvalidArgument):
    """A response_format larger than this server accepts."""

    def __init__(self, field: str, limit: int, actual: int) -> None:
        super().__init__(
            f"{field} has {actual} bytes; at most {limit} are allowed",
            violations=[Violation(field, f"more than {limit} bytes")],
            limit=limit,
            actual=actual,
        )


class FormatNotEnforceable(InvalidArgument):
    """A response_format that is invalid, or uses a feature that is not enforced."""

    def __init__(self, field: str, why: str) -> None:
        shortened = why if len(why) <= 300 else f"{why[:299]}…"
        super().__init__(f"{field} cannot be enforced: {shortened}", violations=[Violation(field, shortened)])
