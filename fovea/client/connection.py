"""A connection to a service, blocking or asyncio.

The sequence of calls is written once, as generators in `fovea.client.steps`; both classes here run them. They
add token and deadline to every call and convert failures to typed errors. Of several servers `pool` chooses
one for each attempt of a call. Independent of the RPCs. Both connect on the first call and reconnect after a
loss.
"""

from __future__ import annotations

import asyncio
import copy
import re
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar

import grpc

from fovea.access.channel import bearer, is_sendable
from fovea.client.attempts import Attempts
from fovea.client.channel import OPTIONS, OPTIONS_OF_SEVERAL
from fovea.client.pool import Pool, Server
from fovea.client.sending import UploadRequests
from fovea.client.tls import Security, Tls, credentials
from fovea.contract.errors import (
    Aborted,
    DeadlineExceeded,
    FoveaError,
    InvalidArgument,
    NotServed,
    Unreachable,
)
from fovea.contract.remote import error_of
from fovea.target import Target

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
    """An RPC by name. Of several servers, that of `key` is called."""

    method: str
    request: Any
    key: str = ""


@dataclass(frozen=True)
class UploadRpc(Rpc):
    """An RPC that streams its request. `request` makes the iterator of messages, anew for each attempt."""


@dataclass(frozen=True)
class StreamRpc(Rpc):
    """An RPC that streams its responses.

    The reply is a generator whose first response has already arrived, so a refused call fails when it is
    opened. Closing the generator cancels the call on the server.
    """


BY_CALLER = re.compile(r"Locally cancelled by application!|Channel closed!")
"""What gRPC's text of a call says that its caller has cancelled."""
Steps: TypeAlias = Generator[Rpc, Any, T]
"""Consecutive calls; each yield returns the reply, or raises its failure."""


def failure(failed: grpc.RpcError, address: str) -> FoveaError:
    """The typed error of a failed call.

    A status without our details comes from gRPC itself: UNAVAILABLE means that no service responded, and so
    does CANCELLED, with which a server that begins to drain drops a call that no handler has taken.
    """
    error = error_of(failed)
    cancelled = isinstance(error, Aborted) and not error.received
    dropped = cancelled and not BY_CALLER.search(failed.details() or "")
    if dropped or isinstance(error, Unreachable):
        why = [meaning for text, meaning in TLS_FAILURES if text in (failed.details() or "")]
        unsafe = f"no secure connection to the service at {address}: {why[0]}" if why else ""
        return Unreachable(unsafe or f"no service can be reached at {address}", address=address)
    if isinstance(error, NotServed) and not error.violations:  # from gRPC too: the service has no such method
        error.message = (
            f"the service at {address} does not know this call: encoder and decoder have different addresses"
        )
        error.args, error.metadata = (error.message,), {"address": address}
    return error


def _targeted(address: str) -> Target:
    """Raises AddressInvalid if gRPC would resolve the address slowly or use an unintended port."""
    try:
        if "," in address or address.startswith("dns:///"):
            return Target.parse(address)
    except ValueError as error:
        raise AddressInvalid(f"no address of services: {error}", address=address) from None
    if not _ADDRESS.fullmatch(address):
        raise AddressInvalid(
            f"{address!r} is not the address of a service: write HOST:PORT, without http://", address=address
        )
    return Target((address,))


@contextmanager
def _within_deadline() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise DeadlineExceeded("the deadline passed before the name had an address") from None


class AddressInvalid(InvalidArgument):
    """An address without host and port."""


class TokenInvalid(InvalidArgument):
    """A bearer token that cannot be sent."""


def _check_token(token: str, target: Target, tls: Security) -> None:
    """Raises TokenInvalid if the token cannot be sent, or if others could read it on its way."""
    if not is_sendable(token):
        raise TokenInvalid("the token has characters that a header cannot carry: it must be printable ASCII")
    if token and tls is None and not target.is_local:
        raise TokenInvalid(
            f"a token is not sent to {target} without TLS, because anyone on the way could read it",
            address=str(target),
        )


class _Settings:
    """Servers, credentials and timeout of every call. `module` opens the channels: `grpc` or `grpc.aio`."""

    def __init__(
        self,
        address: str,
        token: str | None,
        timeout_s: float,
        stub: Callable[..., Any],
        tls: Security,
        module: Any,
    ) -> None:
        target = _targeted(address)
        _check_token(token or "", target, tls)
        self.address = str(target)
        self._timeout_s: float | None = timeout_s
        self._metadata = bearer(token or "")
        access, host = credentials(tls), target.name.host if target.name else ""
        options = OPTIONS_OF_SEVERAL if target.is_several else OPTIONS

        def connect(address: str) -> Server:
            channel = access.open(module, address, options, host)
            return Server(address, channel, stub(channel))

        self._pool = Pool(target, connect)

    def calling(self, timeout_s: float | None, metadata: Sequence[tuple[str, str]]) -> Self:
        """The same connection, whose calls have this timeout and metadata instead of its own."""
        other = copy.copy(self)
        other._timeout_s, other._metadata = timeout_s, tuple(metadata)
        return other

    @property
    def _is_several(self) -> bool:
        return self._pool.target.is_several

    def _since(self, begun: float) -> Self:
        """The same connection, whose calls have the time that is left since `begun`, on the monotonic clock.
        Raises DeadlineExceeded if there is none.
        """
        if self._timeout_s is None:
            return self
        left = begun + self._timeout_s - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before a server could answer")
        return self.calling(left, self._metadata)

    def _attempts(self, call: Rpc) -> Attempts:
        return Attempts(self._pool, call.key, self._timeout_s)

    def _options(self, attempts: Attempts) -> dict[str, Any]:
        """What an attempt is made with."""
        return {"timeout": attempts.timeout_s, "metadata": self._metadata}


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
        super().__init__(address, token, timeout_s, stub, tls, grpc)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels running calls."""
        for server in self._pool.with_calls():
            server.channel.close()

    def channels(self) -> list[grpc.Channel]:
        """Those to all servers that are known now. Raises Unreachable if a name has no address."""
        self._resolve(self._timeout_s)
        return [server.channel for server in self._pool.servers()]

    def _resolve(self, timeout_s: float | None) -> None:
        """Wait for the first address of a name. Raises Unreachable and DeadlineExceeded."""
        if not self._pool.is_known:
            with _within_deadline():
                self._pool.look_up().result(timeout_s)
            self._pool.check_known()

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
        attempts = self._attempts(call)
        self._resolve(attempts.timeout_s)
        while True:
            options = self._options(attempts)
            try:
                return self._attempt(call, attempts.next_server(), options)
            except FoveaError as error:
                time.sleep(attempts.pause_s(error))

    def _attempt(self, call: Rpc, server: Server, options: dict[str, Any]) -> Any:
        if isinstance(call, StreamRpc):
            messages = self._messages(call, server, options)
            next(messages)
            return messages
        method = getattr(server.stub, call.method)
        with self._pool.running(server):
            try:
                if not isinstance(call, UploadRpc):
                    return method(call.request, **options)
                upload = UploadRequests(call.request())
                reply = method.future(upload, **options)
                with upload.cancelling(reply):
                    return reply.result()
            except grpc.RpcError as failed:
                raise failure(failed, self.address) from failed

    def _messages(
        self, call: StreamRpc, server: Server, options: dict[str, Any]
    ) -> Generator[Any, None, None]:
        """Yields None once the first response has arrived, then the responses."""
        with self._pool.running(server):
            stream = getattr(server.stub, call.method)(call.request, **options)
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
        super().__init__(address, token, timeout_s, stub, tls, grpc.aio)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels running calls."""
        for server in self._pool.with_calls():
            await server.channel.close()

    async def channels(self) -> list[grpc.aio.Channel]:
        """Like `Connection.channels`."""
        await self._resolve(self._timeout_s)
        return [server.channel for server in self._pool.servers()]

    async def _resolve(self, timeout_s: float | None) -> None:
        """Like `Connection._resolve`."""
        if not self._pool.is_known:
            with _within_deadline():
                # Shielded, because others may wait for the same look-up.
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._pool.look_up())), timeout_s)
            self._pool.check_known()

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
        attempts = self._attempts(call)
        await self._resolve(attempts.timeout_s)
        while True:
            options = self._options(attempts)
            try:
                return await self._attempt(call, attempts.next_server(), options)
            except FoveaError as error:
                await asyncio.sleep(attempts.pause_s(error))

    async def _attempt(self, call: Rpc, server: Server, options: dict[str, Any]) -> Any:
        if isinstance(call, StreamRpc):
            messages = self._messages(call, server, options)
            await anext(messages)
            return messages
        method = getattr(server.stub, call.method)
        with self._pool.running(server):
            try:
                if not isinstance(call, UploadRpc):
                    return await method(call.request, **options)
                upload = UploadRequests(call.request())
                reply = method(upload, **options)
                with upload.cancelling(reply):
                    return await reply
            except grpc.RpcError as failed:
                raise failure(failed, self.address) from failed

    async def _messages(
        self, call: StreamRpc, server: Server, options: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Like `Connection._messages`."""
        with self._pool.running(server):
            stream = getattr(server.stub, call.method)(call.request, **options)
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
