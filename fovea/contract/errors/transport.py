"""Failures of a call itself: its deadline, its link, its messages."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError


class Internal(FoveaError):
    """A defect of the server. The request id finds the line in its log."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"


class DeadlineExceeded(FoveaError):
    """The caller's deadline passed before the work was done."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class CallIdle(FoveaError):
    """The caller sent nothing, or read nothing, for longer than the server holds a call open."""

    code = grpc.StatusCode.ABORTED
    reason = "CALL_IDLE"

    def __init__(self, side: str, limit_s: float) -> None:
        super().__init__(
            f"the caller did not {side} a message for {limit_s:g} s", limit=f"{limit_s:g}", waited_for=side
        )


class Unreachable(FoveaError):
    """Nobody answers at the address, or the connection was lost. `metadata` has the address."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class MessageTooLarge(FoveaError):
    """A message is larger than one side receives."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "MESSAGE_TOO_LARGE"


class AnswerIncomplete(FoveaError):
    """A stream ended well but without its closing message: the other side is no Fovea decoder."""

    code = grpc.StatusCode.INTERNAL
    reason = "ANSWER_INCOMPLETE"


class RemoteError(FoveaError):
    """A failure with a reason that this version does not know. `code` and `reason` are as they were sent."""

    code = grpc.StatusCode.UNKNOWN
    reason = "UNKNOWN"
