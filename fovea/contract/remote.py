"""A failure that came back over gRPC, as the same kind of exception that was raised on the other side.

Reads code, ErrorInfo, BadRequest, RetryInfo and RequestInfo from a status. Whoever calls a service uses this;
whoever serves uses `fovea.server.status`. It knows no reason by name: the decoder passes an encoder's failure
on as it is, and `fovea.client.errors` gives each reason a class of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from fovea.contract.errors import DOMAIN, FoveaError, Violation

DETAILS = "grpc-status-details-bin"

# What a status without our details means, by its code.
_PLAIN = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.CANCELLED: "ABORTED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "MESSAGE_TOO_LARGE",
    grpc.StatusCode.UNIMPLEMENTED: "NOT_SERVED",
}


class RemoteError(FoveaError):
    """A failure of a call, with the code and the reason that the other side gave. `request_id` finds its
    log. It is `typed` where the other side is a service of ours and said so itself."""

    code = grpc.StatusCode.UNKNOWN
    reason = "UNKNOWN"
    request_id = ""
    typed = False

    def advise(self, what: str) -> None:
        """Say what the caller can do, behind the message."""
        self.message = f"{self.message}; {what}"
        self.args = (self.message,)


Kinds = Mapping[str, type[RemoteError]]
"""Classes by reason. A failure of any other reason is a plain RemoteError."""


@dataclass
class _Details:
    """What the details of a status say, as far as they are ours."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None
    request_id: str = ""

    def read(self, status: status_pb2.Status) -> None:
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                if info.domain == DOMAIN:
                    self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                request = error_details_pb2.BadRequest.FromString(detail.value)
                self.violations = tuple(Violation(v.field, v.description) for v in request.field_violations)
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                self.retry_after_s = delay.seconds + delay.nanos / 1e9
            elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
                self.request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id


def error_of(call: grpc.RpcError, kinds: Kinds | None = None) -> RemoteError:
    """The failure behind an RpcError of a sync or an aio call."""
    code, found = call.code(), _details(call)
    reason = found.reason or _PLAIN.get(code, RemoteError.reason)
    error = (kinds or {}).get(reason, RemoteError)(call.details() or code.name)
    error.code = code  # type: ignore[misc]  # what was sent counts, whatever the class says
    error.reason = reason  # type: ignore[misc]
    error.typed = bool(found.reason)
    error.metadata, error.violations = found.metadata, found.violations
    error.retry_after_s, error.request_id = found.retry_after_s, found.request_id
    return error


def _details(call: grpc.RpcError) -> _Details:
    """Details that cannot be read are not there: the code and the text still count."""
    found = _Details()
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS:
            try:
                found.read(status_pb2.Status.FromString(value))
            except DecodeError:
                return _Details()
    return found
