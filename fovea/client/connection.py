"""One channel to one service: the token and the deadline on every call, typed errors out of every call.

Knows no RPC of either service. The receive limit stays at gRPC's default of 4 MiB: no answer needs more.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from fovea.client.errors import Unreachable
from fovea.remote import error_of

TIMEOUT_S = 120.0


class Connection:
    """Cheap to make: it connects with the first call, and again after a loss."""

    def __init__(self, address: str, token: str | None, timeout_s: float) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout_s = timeout_s

    def close(self) -> None:
        self.channel.close()

    def one(self, method: Any, request: Any) -> Any:
        """The response to `request`, which is a message or, for an upload, an iterator of messages."""
        with self._typed_errors():
            return method(request, timeout=self._timeout_s, metadata=self._metadata)

    def many(self, method: Any, request: Any) -> Generator[Any, None, None]:
        """The responses, one by one. Closing the generator early cancels the call on the server too."""
        with self._typed_errors():
            call = method(request, timeout=self._timeout_s, metadata=self._metadata)
            try:
                yield from call
            finally:
                call.cancel()  # does nothing where the call has ended

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as failed:
            error = error_of(failed)
            if error.code is grpc.StatusCode.UNAVAILABLE and not (error.metadata or error.request_id):
                raise Unreachable(self.address) from failed
            raise error from failed
