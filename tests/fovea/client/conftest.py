from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fovea.client import driven
from tests.fovea.client.fakes import FakeDecoder, FakeEncoder, png, served


@pytest.fixture
def decoder() -> FakeDecoder:
    return FakeDecoder()


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture(params=driven.KINDS)
def kind(request) -> str:
    """Runs each test with the blocking and the asyncio clients."""
    return request.param


@pytest.fixture
def client(kind, decoder) -> Iterator[Any]:
    with served(decoder) as address, driven.decoder_client(kind, address, timeout_s=30) as client:
        yield client


@pytest.fixture
def encoder_client(kind, encoder) -> Iterator[Any]:
    with served(encoder) as address, driven.encoder_client(kind, address, timeout_s=30) as client:
        yield client


@pytest.fixture
def picture(tmp_path) -> str:
    return png(tmp_path / "picture.png")
