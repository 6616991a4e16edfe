"""What server reflection looks things up in: the default pool, in which a call is found by its name too.

Protobuf's own pool finds services, messages and fields by name, but no calls: it knows not in which file
`DecoderService.Complete` stands. ghz asks for that, and so does `grpcurl describe` of one call.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool


class Pool:
    """The default pool with that answer added."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        """Raises KeyError where there is no such symbol."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)
