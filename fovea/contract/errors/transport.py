"""Failures of the call itself: deadline, connection, messages."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import FoveaError, TemplatedError


class Internal(FoveaError, code=StatusCode.INTERNAL, reason="INTERNAL"):
    """A bug in the server. The request id identifies the log line."""


class DeadlineExceeded(FoveaError, code=StatusCode.DEADLINE_EXCEEDED, reason="DEADLINE_EXCEEDED"):
    """The caller's deadline passed before the work was done."""


class DeadlineUnreachable(TemplatedError, DeadlineExceeded):
    """A call left the queue because it could no longer be done before its deadline."""

    text = "the call waited too long: it needs about {needed_s:.3g} s, and its deadline is in {left_s:.3g} s"
    info = "limit={left_s:.3g} actual={needed_s:.3g}"
    needed_s: float
    left_s: float
    retry_after_s: float


class CallIdle(TemplatedError, code=StatusCode.ABORTED, reason="CALL_IDLE"):
    """The caller neither sent nor read a message for longer than the server allows."""

    text = "the caller did not {side} a message for {limit_s:g} s"
    info = "limit={limit_s:g} waited_for={side}"
    side: str
    limit_s: float


class Unreachable(FoveaError, code=StatusCode.UNAVAILABLE, reason="UNAVAILABLE"):
    """No service responds at the address, or the connection was lost. `metadata` has the address."""


class MessageTooLarge(FoveaError, code=StatusCode.RESOURCE_EXHAUSTED, reason="MESSAGE_TOO_LARGE"):
    """A message exceeds the receiver's size limit."""


class AnswerIncomplete(FoveaError, code=StatusCode.INTERNAL, reason="ANSWER_INCOMPLETE"):
    """A stream ended with OK but without its final message: the peer is not a Fovea decoder."""


class RemoteError(FoveaError, code=StatusCode.UNKNOWN, reason="UNKNOWN"):
    """A failure with a reason unknown to this version. `code` and `reason` are as sent."""


class TooManyStreams(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="TOO_MANY_STREAMS"):
    """The streams of health and reflection, which need no token, are all taken."""

    text = "{actual} streams of health and reflection are open with this one; at most {limit} may be"
    retry_after_s = 1.0
    limit: int
    actual: int


class ServerBusy(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="SERVER_BUSY"):
    """The requests of running calls hold as many bytes as the server allows."""

    text = "running calls hold {actual} bytes of requests with this one; at most {limit} are allowed"
    retry_after_s = 1.0
    limit: int
    actual: int


class TenantBusy(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="TENANT_BUSY"):
    """The running calls of a tenant hold as much as it may. A call that alone exceeds it has no RetryInfo."""

    text = "{field}: the running calls of the tenant would hold {actual}; the limit is {limit}"
    field: str
    limit: int
    actual: int
    retry_after_s: float | None
