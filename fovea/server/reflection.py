"""The symbol database of server reflection: the default pool, which also finds methods by name.

Protobuf's pool finds services, messages and fields by name, but no methods such as `DecoderService.Complete`.
ghz and `grpcurl describe` of a method look these up.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool


class Pool:
    """The default descriptor pool, extended by method lookup."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        """Raises KeyError for an unknown symbol."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)
