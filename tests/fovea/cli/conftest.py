from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from fovea.cli.app import app
from tests.fovea.client.fakes import FakeDecoder, FakeEncoder, png, served


@pytest.fixture
def fovea() -> Callable[..., Result]:
    """Run the command in this process."""
    return lambda *argv, **options: CliRunner().invoke(
        app, [str(argument) for argument in argv], prog_name="fovea", **options
    )


@pytest.fixture
def decoder() -> FakeDecoder:
    return FakeDecoder()


@pytest.fixture
def decoder_address(decoder) -> Iterator[str]:
    with served(decoder) as address:
        yield address


@pytest.fixture
def encoder_address() -> Iterator[str]:
    with served(FakeEncoder()) as address:
        yield address


@pytest.fixture
def picture(tmp_path) -> str:
    return png(tmp_path / "picture.png")
