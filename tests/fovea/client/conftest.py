from __future__ import annotations

from collections.abc import Iterator

import pytest

from fovea.client import Client, EncoderClient
from tests.fovea.client.fakes import FakeDecoder, FakeEncoder, png, served


@pytest.fixture
def decoder() -> FakeDecoder:
    return FakeDecoder()


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def client(decoder) -> Iterator[Client]:
    with served(decoder) as address, Client(address, timeout_s=30) as client:
        yield client


@pytest.fixture
def encoder_client(encoder) -> Iterator[EncoderClient]:
    with served(encoder) as address, EncoderClient(address, timeout_s=30) as client:
        yield client


@pytest.fixture
def picture(tmp_path) -> str:
    return png(tmp_path / "picture.png")
