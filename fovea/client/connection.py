"""A connection to a service, blocking or asyncio.

The sequence of calls is written once, as generators in `fovea.client.steps`; both classes here run them. They
add token and deadline to every call and convert failures to typed errors. Independent of the RPCs. Both
connect on the first call and reconnect after a loss.
"""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar

import grpc

from fovea.access.channel import bearer, is_sendable
from fovea.address import is_loopback
from fovea.client.channel import OPTIONS
from fovea.client.sending import UploadRequests
from fovea.client.tls import Security, Tls, credentials
from fovea.contract.errors import FoveaError, InvalidArgument, NotServed, Unreachable
from fovea.contract.remote import error_of

TIMEOUT_S = 120.0
TLS_FAILURES = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by a CA that this client trusts"),
    ("Hostname Verification Check failed", "its certificate is for another name"),
    ("WRONG_VERSION_NUMBER", "it does not serve TLS"),
    ("CERTIFICATE_REQUIRED", "it requires a client certificate"),
)
"""What gRPC's text of a failed handshake contains, and what it means."""
_ADDRESS = re.compile(r"(?!https?://)\S+:\S+")
T = TypeVar("T")


@dataclass(frozen=True)
class Rpc:
    """An RPC by name. `request` is a message or, for an upload, an iterator of messages."""

    method: str
    request: Any


@dataclass(frozen=True)
class StreamRpc(Rpc):
    """An RPC that streams its responses.

    The reply is a generator whose first response has already arrived, so a refused call fails when it is
    opened. Closing the generator cancels the call on the server.
    """


Steps: TypeAlias = Generator[Rpc, Any, T]
"""Consecutive calls; each yield returns the reply, or raises its failure."""


def failure(failed: grpc.RpcError, address: str) -> FoveaError:
    """The typed error of a failed call.

    A status without our details comes from gRPC itself: UNAVAILABLE means that no service responded.
    """
    error = error_of(failed)
    if isinstance(error, Unreachable):
        why = [meaning for text, meaning in TLS_FAILURES if text in (failed.details() or "")]
        unsafe = f"no secure connection to the service at {address}: {why[0]}" if why else ""
        return Unreachable(unsafe or f"no service can be reached at {address}", address=address)
    if isinstance(error, NotServed) and not error.violations:  # from gRPC too: the service has no such method
        error.message = (
            f"the service at {address} does not know this call: encoder and decoder have different addresses"
        )
        error.args, error.metadata = (error.message,), {"address": address}
    return error


def _checked(address: str) -> str:
    """Raises AddressInvalid if gRPC would resolve the address slowly or use an unintended port."""
    if not _ADDRESS.fullmatch(address):
        raise AddressInvalid(
            f"{address!r} is not the address of a service: write HOST:PORT, without http://", address=address
        )
    return address


class AddressInvalid(InvalidArgument):
    """An address without host and port."""


class TokenInvalid(InvalidArgument):
    """A bearer token that cannot be sent."""


def _check_token(token: str, address: str, tls: Security) -> None:
    """Raises TokenInvalid if the token cannot be sent, or if others could read it on its way."""
    if not is_sendable(token):
        raise TokenInvalid("the token has characters that a header cannot carry: it must be printable ASCII")
    if token and tls is None and not is_loopback(address):
        raise TokenInvalid(
            f"a token is not sent to {address} without TLS, because anyone on the way could read it",
            address=address,
        )


class _Settings:
    """Address, credentials and timeout of every call."""

    def __init__(self, address: str, token: str | None, timeout_s: float, tls: Security) -> None:
        self.address = _checked(address)
        _check_token(token or "", address, tls)
        self._options: dict[str, Any] = {"timeout": timeout_s, "metadata": bearer(token or "")}

    def calling(self, timeout_s: float | None, metadata: Sequence[tuple[str, str]]) -> Self:
        """The same connection, whose calls have this timeout and metadata instead of its own."""
        other = copy.copy(self)
        other._options = {"timeout": timeout_s, "metadata": tuple(metadata)}
        return other


class Connection(_Settings):
    """The blocking connection. Thread-safe."""

    def __init__(
        self,
        address: str,
        token: str | None,
        timeout_s: float,
        stub: Callable[..., Any],
        tls: Tls | None = None,
    ) -> None:
        super().__init__(address, token, timeout_s, tls)
        self._channel = credentials(tls).open(grpc, address, OPTIONS)
        self._stub = stub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels running calls."""
        self._channel.close()

    def _run(self, steps: Steps[T]) -> T:
        try:
            call = next(steps)
            while True:
                try:
                    reply = self._reply(call)
                except FoveaError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _reply(self, call: Rpc) -> Any:
        if isinstance(call, StreamRpc):
            messages = self._messages(call)
            next(messages)
            return messages
        method = getattr(self._stub, call.method)
        try:
            if not isinstance(call.request, Iterator):
                return method(call.request, **self._options)
            upload = UploadRequests(call.request)
            reply = method.future(upload, **self._options)
            with upload.cancelling(reply):
                return reply.result()
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed

    def _messages(self, call: StreamRpc) -> Generator[Any, None, None]:
        """Yields None once the first response has arrived, then the responses."""
        stream = getattr(self._stub, call.method)(call.request, **self._options)
        try:
            first = next(stream, None)
            yield None
            if first is not None:
                yield first
                yield from stream
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed
        finally:
            stream.cancel()  # no effect on a finished call


class AsyncConnection(_Settings):
    """The asyncio connection. Create, use and close it in the same event loop; safe for many tasks."""

    def __init__(
        self,
        address: str,
        token: str | None,
        timeout_s: float,
        stub: Callable[..., Any],
        tls: Security = None,
    ) -> None:
        super().__init__(address, token, timeout_s, tls)
        self._channel = credentials(tls).open(grpc.aio, address, OPTIONS)
        self._stub = stub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels running calls."""
        await self._channel.close()

    async def _run(self, steps: Steps[T]) -> T:
        try:
            call = next(steps)
            while True:
                try:
                    reply = await self._reply(call)
                except FoveaError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _reply(self, call: Rpc) -> Any:
        if isinstance(call, StreamRpc):
            messages = self._messages(call)
            await anext(messages)
            return messages
        method = getattr(self._stub, call.method)
        try:
            if not isinstance(call.request, Iterator):
                return await method(call.request, **self._options)
            upload = UploadRequests(call.request)
            reply = method(upload, **self._options)
            with upload.cancelling(reply):
                return await reply
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed

    async def _messages(self, call: StreamRpc) -> AsyncGenerator[Any, None]:
        """Like `Connection._messages`."""
        stream = getattr(self._stub, call.method)(call.request, **self._options)
        try:
            responses = aiter(stream)
            first = await anext(responses, None)
            yield None
            if first is not None:
                yield first
                async for message in responses:
                    yield message
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed
        finally:
            stream.cancel()  # no effect on a finished call
