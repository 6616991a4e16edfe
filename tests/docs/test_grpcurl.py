"""Every command of docs/grpcurl.md prints the output on the page, with the real grpcurl and services."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.comparison import steady
from tests.docs.grpcurl import page_blocks
from tests.docs.page import Block
from tests.docs.shell import Addresses, run

# Starting both services on a busy machine takes longer than a test may.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]
BLOCKS = page_blocks()


@pytest.fixture(scope="module")
def printed(tool: Callable[[str], Path], request: pytest.FixtureRequest) -> list[str]:
    tool("grpcurl")
    addresses: Addresses = request.getfixturevalue("addresses")
    return run([block.command for block in BLOCKS], addresses)


@pytest.mark.parametrize(("place", "block"), list(enumerate(BLOCKS)), ids=[block.name for block in BLOCKS])
def test_a_command_prints_what_the_page_says(place: int, block: Block, printed: list[str]) -> None:
    assert steady(printed[place]) == steady(block.output)
