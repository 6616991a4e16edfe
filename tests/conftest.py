"""What tests of several folders share: tiny checkpoints, made once, and two running services.

The services run in one event loop for the whole run, and so do the tests of the folders that use them. Nothing heavy is imported before a fixture asks for it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.house import House, running
from tests.leaks import watched

if TYPE_CHECKING:
    from bench.postgres import PostgresServer
    from bench.valkey_server import ValkeyServer

ONE_LOOP = ("e2e", "contract", "server", "gateway")
UNWATCHED = "leaks"
"""The mark of a test that provokes a text with our insides in it."""


def pytest_configure() -> None:
    """A developer's own settings must not decide a test: services refuse unknown variables and read known ones."""
    for name in [name for name in os.environ if name.startswith("FOVEA_")]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Runs before the tests' own marks, so that every test of these folders has the mark."""
    for item in items:
        if item.path.parent.name in ONE_LOOP and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that saw a status or a log line with our insides in it."""
    if request.path.parent.name not in ONE_LOOP or request.node.get_closest_marker(UNWATCHED):
        yield
        return
    with watched() as watch:
        yield
    assert not watch.found()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny checkpoint by name: moe, dense, wide (a tower of the real width), other (other weights)."""
    import torch

    from tests import tiny

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("checkpoints")

    def make(name: str) -> Path:
        if not (root / name).exists():
            if name == "wide":
                tiny.wide(root / name)
            elif name == "other":
                tiny.checkpoint(root / name, "moe", seed=1)
            else:
                tiny.checkpoint(root / name, name)
        return root / name

    return make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """Both services with the tiny MoE, entirely in fp32."""
    async with running(checkpoint("moe"), tmp_path_factory.mktemp("store")) as services:
        yield services


def lacking(why: str) -> None:
    """Skip the test for lack of a program, or fail it if nothing may be skipped."""
    (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(why)


@pytest.fixture
def valkey_program() -> None:
    """Valkey or Redis can be started."""
    from bench.valkey_server import is_installed

    if not is_installed():
        lacking("Valkey is not installed: apt-get install redis-server")


@pytest.fixture
def valkey_server(valkey_program: None) -> Iterator[ValkeyServer]:
    """A running Valkey or Redis, empty."""
    from bench.valkey_server import ValkeyServer

    running = ValkeyServer()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A running PostgreSQL. Without the program the test is skipped, or fails if nothing may be skipped."""
    from bench.postgres import PostgresServer, is_installed

    if not is_installed():
        lacking("PostgreSQL is not installed: apt-get install postgresql")
    running = PostgresServer()
    try:
        running.start()
        yield running
    finally:
        running.remove()
