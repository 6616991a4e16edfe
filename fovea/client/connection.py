"""One channel to one service, twice: for callers that block, and for callers that await.

What is asked, and in which order, is written once, as the generators in `fovea.client.steps`; both classes
here run them. They put the token and the deadline on every call and make typed errors of what comes back.
Neither knows an RPC. Both connect with the first call, and again after a loss.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar

import grpc

from fovea.client.channel import OPTIONS
from fovea.client.sending import Sending
from fovea.contract.errors import FoveaError, InvalidArgument, NotServed, Unreachable
from fovea.contract.remote import error_of

TIMEOUT_S = 120.0
_ADDRESS = re.compile(r"(?!https?://)\S+:\S+")
T = TypeVar("T")


@dataclass(frozen=True)
class Rpc:
    """One RPC by name. The request is a message or, for an upload, an iterator of messages."""

    method: str
    request: Any


@dataclass(frozen=True)
class StreamRpc(Rpc):
    """An RPC whose responses are a stream. Its reply is a generator of them, the first of which has come
    already: a call that is refused fails when it is opened. Closing the generator cancels the call on the
    server too."""


Steps: TypeAlias = Generator[Rpc, Any, T]
"""Calls to make, one after the other; each gets its reply, or its failure, where it was yielded."""


def failure(failed: grpc.RpcError, address: str) -> FoveaError:
    """A status without our details and with the code UNAVAILABLE comes from gRPC: nobody was there to say
    more."""
    error = error_of(failed)
    if isinstance(error, Unreachable):
        return Unreachable(f"no service can be reached at {address}", address=address)
    if isinstance(error, NotServed) and not error.violations:  # nor does this: gRPC has no such method there
        error.message = (
            f"the service at {address} does not know this call: encoder and decoder have different addresses"
        )
        error.args, error.metadata = (error.message,), {"address": address}
    return error


def _checked(address: str) -> str:
    """Raises AddressInvalid for what gRPC would look up for a while, or on another port than was meant."""
    if not _ADDRESS.fullmatch(address):
        raise AddressInvalid(
            f"{address!r} is no address of a service: HOST:PORT, without http://", address=address
        )
    return address


class AddressInvalid(InvalidArgument):
    """An address that names no host and port."""


class TokenInvalid(InvalidArgument):
    """A bearer token that cannot be sent."""


class _Settings:
    """What goes along with every call."""

    def __init__(self, address: str, token: str | None, timeout_s: float) -> None:
        self.address = _checked(address)
        if token and not (token.isascii() and token.isprintable()):
            raise TokenInvalid(
                "the token has characters that no header can carry: it must be printable ASCII"
            )
        self._options = {
            "timeout": timeout_s,
            "metadata": (("authorization", f"Bearer {token}"),) if token else (),
        }


class Connection(_Settings):
    """Blocks. One object serves many threads."""

    def __init__(self, address: str, token: str | None, timeout_s: float, stub: Callable[..., Any]) -> None:
        super().__init__(address, token, timeout_s)
        self._channel = grpc.insecure_channel(address, options=OPTIONS)
        self._stub = stub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        self.close()

    def close(self) -> None:
        """Calls that still run are cancelled."""
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
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _reply(self, call: Rpc) -> Any:
        if isinstance(call, StreamRpc):
            messages = self._messages(call)
            return _resumed(next(messages, None), messages)
        method, sending = getattr(self._stub, call.method), Sending.of(call.request)
        try:
            if sending is None:
                return method(call.request, **self._options)
            return _sent(method.future(sending, **self._options), sending)
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed

    def _messages(self, call: StreamRpc) -> Generator[Any, None, None]:
        stream = getattr(self._stub, call.method)(call.request, **self._options)
        try:
            yield from stream
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed
        finally:
            stream.cancel()  # does nothing where the call has ended


class AsyncConnection(_Settings):
    """Awaits. Made, used and closed in one event loop; one object serves many tasks."""

    def __init__(self, address: str, token: str | None, timeout_s: float, stub: Callable[..., Any]) -> None:
        super().__init__(address, token, timeout_s)
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        self._stub = stub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failed: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Calls that still run are cancelled."""
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
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def _reply(self, call: Rpc) -> Any:
        if isinstance(call, StreamRpc):
            messages = self._messages(call)
            return _aresumed(await anext(messages, None), messages)
        method, sending = getattr(self._stub, call.method), Sending.of(call.request)
        try:
            if sending is None:
                return await method(call.request, **self._options)
            return await _asent(method(sending, **self._options), sending)
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed

    async def _messages(self, call: StreamRpc) -> AsyncGenerator[Any, None]:
        stream = getattr(self._stub, call.method)(call.request, **self._options)
        try:
            async for message in stream:
                yield message
        except grpc.RpcError as failed:
            raise failure(failed, self.address) from failed
        finally:
            stream.cancel()  # does nothing where the call has ended


def _sent(reply: grpc.Future, sending: Sending) -> Any:
    """The reply to an upload, or what went wrong with its requests."""
    sending.ends(reply.cancel)
    try:
        return reply.result()
    except (grpc.RpcError, grpc.FutureCancelledError):
        if sending.failure is not None:
            raise sending.failure from None
        raise
    finally:
        reply.cancel()  # does nothing where it has ended


async def _asent(reply: grpc.aio.StreamUnaryCall, sending: Sending) -> Any:
    sending.ends(reply.cancel)
    try:
        return await reply
    except (grpc.RpcError, asyncio.CancelledError):
        if sending.failure is not None:
            raise sending.failure from None
        raise
    finally:
        reply.cancel()  # does nothing where it has ended


def _resumed(first: Any, rest: Generator[Any, None, None]) -> Generator[Any, None, None]:
    with closing(rest):
        if first is not None:
            yield first
            yield from rest


async def _aresumed(first: Any, rest: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    async with aclosing(rest):
        if first is not None:
            yield first
            async for message in rest:
                yield message
