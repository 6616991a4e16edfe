"""Who sends a request, and until when: its bearer token, request id and deadline, as metadata of calls."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers

from fovea.access.channel import bearer, is_sendable
from fovea.contract.errors import InvalidArgument, TokenMissing
from fovea.server.identity import set_identity
from fovea.server.tokens import Tokens
from gateway_svc.errors import TimeoutTooLong

REQUEST_ID = "x-request-id"
TIMEOUT = "x-fovea-timeout-s"
TRACE = ("traceparent", "tracestate")
MAX_ID_CHARACTERS = 128


@dataclass(frozen=True)
class Caller:
    """The metadata and the deadline of every call on behalf of a request."""

    token: str
    request_id: str
    timeout_s: float
    trace: tuple[tuple[str, str], ...] = ()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (*bearer(self.token), (REQUEST_ID, self.request_id), *self.trace)


def request_id_of(headers: Headers) -> str:
    """The client's own id if it can be a header, otherwise a new id."""
    given = headers.get(REQUEST_ID, "").strip()
    return given if 0 < len(given) <= MAX_ID_CHARACTERS and is_sendable(given) else uuid.uuid4().hex


def caller_of(headers: Headers, request_id: str, limit_s: float) -> Caller:
    """Raises InvalidArgument for a token or a deadline that cannot be used."""
    trace = tuple((name, value) for name in TRACE if (value := headers.get(name)) and is_sendable(value))
    return Caller(_token(headers), request_id, _timeout_s(headers, limit_s), trace)


def _token(headers: Headers) -> str:
    """The bearer token, or the key that Anthropic's clients send; the empty string without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
    if not is_sendable(given):
        raise InvalidArgument("the token has characters that no token has: it must be printable ASCII")
    return given


def _timeout_s(headers: Headers, limit_s: float) -> float:
    text = headers.get(TIMEOUT)
    if text is None:
        return limit_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InvalidArgument.of_field(TIMEOUT, "must be a number of seconds above 0")
    if seconds > limit_s:
        raise TimeoutTooLong(TIMEOUT, limit_s, seconds)
    return seconds


def identify(caller: Caller, tokens: Tokens) -> None:
    """Set the identity of this task. Raises TokenMissing or TokenUnknown."""
    if not caller.token:
        raise TokenMissing
    set_identity(tokens.identify(caller.token))
