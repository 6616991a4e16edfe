"""Failures of the call itself: deadline, connection, messages."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError


class Internal(FoveaError):
    """A bug in the server. The request id identifies the log line."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"


class DeadlineExceeded(FoveaError):
    """The caller's deadline passed before the work was done."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class CallIdle(FoveaError):
    """The caller neither sent nor read a message for longer than the server allows."""

    code = grpc.StatusCode.ABORTED
    reason = "CALL_IDLE"

    def __init__(self, side: str, limit_s: float) -> None:
        super().__init__(
            f"the caller did not {side} a message for {limit_s:g} s", limit=f"{limit_s:g}", waited_for=side
        )


class Unreachable(FoveaError):
    """No service responds at the address, or the connection was lost. `metadata` has the address."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class MessageTooLarge(FoveaError):
    """A message exceeds the receiver's size limit."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "MESSAGE_TOO_LARGE"


class AnswerIncomplete(FoveaError):
    """A stream ended with OK but without its final message: the peer is not a Fovea decoder."""

    code = grpc.StatusCode.INTERNAL
    reason = "ANSWER_INCOMPLETE"


class RemoteError(FoveaError):
    """A failure with a reason unknown to this version. `code` and `reason` are as sent."""

    code = grpc.StatusCode.UNKNOWN
    reason = "UNKNOWN"
