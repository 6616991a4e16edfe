"""Reflection returns the defining file for every kind of symbol."""

from __future__ import annotations

import pytest

from fovea.decoder.v1 import decoder_pb2  # noqa: F401  registers the contract
from fovea.server.reflection import Pool

FILE = "fovea/decoder/v1/decoder.proto"


@pytest.mark.parametrize(
    "symbol", ["DecoderService", "DecoderService.Complete", "Image", "Image.data", "Role"]
)
def test_reflection_locates_a_symbol_in_its_file(symbol: str) -> None:
    pool = Pool()
    assert pool.FindFileContainingSymbol(f"fovea.decoder.v1.{symbol}") is pool.FindFileByName(FILE)


@pytest.mark.parametrize("symbol", ["Nobody", "DecoderService.Nothing", "Image.nothing"])
def test_an_unknown_symbol_raises_key_error(symbol: str) -> None:
    with pytest.raises(KeyError):
        Pool().FindFileContainingSymbol(f"fovea.decoder.v1.{symbol}")
