"""Failures that the gateway itself detects. The decoder's arrive as `fovea.contract.errors`."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors import (
    FoveaError,
    InvalidArgument,
    MessageTooLarge,
    NotServed,
    TemplatedError,
    Violation,
)


class ClientGone(Exception):
    """The HTTP client has closed its connection: nobody waits for an answer."""


class BodyInvalid(TemplatedError, InvalidArgument):
    """A body that is not the JSON object, or the form, that the endpoint takes."""

    text = "the body {why}"
    why: str


class BodyTooLarge(TemplatedError, MessageTooLarge):
    """A body above `max_body_bytes`."""

    text = "the body has more than {limit} bytes, the limit of this gateway"
    limit: int


class BodySlow(TemplatedError, code=StatusCode.ABORTED, reason="CALL_IDLE"):
    """The client sent no part of the body for too long."""

    text = "no part of the body arrived for {limit_s} s"
    limit_s: int


class HeaderSlow(TemplatedError, code=StatusCode.ABORTED, reason="CALL_IDLE"):
    """The client began a request and did not finish its header."""

    text = "the header of the request did not arrive within {limit_s} s"
    limit_s: int


class TooManyConnections(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="GATEWAY_BUSY"):
    """More connections than `max_connections`."""

    text = "{limit} connections are open, the limit of this gateway"
    retry_after_s = 1.0
    limit: int


class GatewayBusy(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="GATEWAY_BUSY"):
    """As many requests as allowed run already."""

    text = "{limit} requests run, the limit of this gateway"
    retry_after_s = 1.0
    limit: int


class ModelUnknown(TemplatedError, code=StatusCode.NOT_FOUND, reason="MODEL_NOT_FOUND"):
    """The request names a model that the decoder does not serve."""

    text = "there is no model {model!r} here; this gateway serves {served!r}"
    violation = "model", "not {served!r}"
    model: str
    served: str


class PathUnknown(TemplatedError, code=StatusCode.NOT_FOUND, reason="NOT_SERVED"):
    """A path or a method that the gateway does not serve."""

    text = "{method} {path} is not served by this gateway"
    method: str
    path: str


class HostNotAllowed(TemplatedError, code=StatusCode.PERMISSION_DENIED, reason="HOST_NOT_ALLOWED"):
    """The request is for another name than the gateway's. A page of another site may have sent it."""

    text = "the gateway is not called {host!r}: its setting `hosts` lists further names"
    host: str


class OriginNotAllowed(TemplatedError, code=StatusCode.PERMISSION_DENIED, reason="ORIGIN_NOT_ALLOWED"):
    """A page of another site has sent the request."""

    text = "requests of pages of {origin!r} are not served"
    origin: str


class UrlRefused(TemplatedError, InvalidArgument, reason="IMAGE_URL_REFUSED"):
    """An image URL that is never fetched."""

    text = "{field}: {why}"
    violation = "{field}", "{why}"
    field: str
    why: str


class UrlNotFetched(TemplatedError, code=StatusCode.FAILED_PRECONDITION, reason="IMAGE_URL_FAILED"):
    """The host of an image URL did not deliver the image within the limits."""

    text = "{field}: {why}"
    violation = "{field}", "{why}"
    field: str
    why: str


class TimeoutTooLong(TemplatedError, InvalidArgument):
    """A deadline above `timeout_s`: refused, never clamped."""

    text = "{header} {actual:g} is above the limit of {limit:g} s"
    violation = "{header}", "above {limit:g}"
    header: str
    limit: float
    actual: float


def not_served(path: str, why: str) -> FoveaError:
    """The refusal of a field that is never ignored."""
    error = NotServed(path)
    error.violations = (Violation(path, why),)
    error.advise(why)
    return error
