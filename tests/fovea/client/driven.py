"""Drives an asyncio client from blocking code, so that a test covers both kinds of clients."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from fovea.client import AsyncClient, AsyncEncoderClient, Client, EncoderClient

KINDS = ("blocking", "awaiting")


class Driven:
    """Runs every method of the client to completion in its own loop; streams are pulled event by event."""

    def __init__(self, runner: asyncio.Runner, client: Any) -> None:
        self.client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)

        def call(*args: Any, **options: Any) -> Any:
            made = method(*args, **options)
            return self._pulled(made) if inspect.isasyncgen(made) else self._runner.run(made)

        return call

    def _pulled(self, events: AsyncGenerator[Any, None]) -> Generator[Any, None, None]:
        async def following() -> Any:
            return await anext(events, None)

        async def leaving() -> None:
            await events.aclose()

        try:
            while (event := self._runner.run(following())) is not None:
                yield event
        finally:
            self._runner.run(leaving())


@contextmanager
def driven(make: Callable[[], Any]) -> Iterator[Any]:
    """A client created, used and closed in the same loop."""

    async def made() -> Any:
        return make()

    with asyncio.Runner() as runner:
        client = Driven(runner, runner.run(made()))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def decoder_client(kind: str, address: str, *args: Any, **options: Any) -> Iterator[Any]:
    if kind == "blocking":
        with Client(address, *args, **options) as client:
            yield client
    else:
        with driven(lambda: AsyncClient(address, *args, **options)) as client:
            yield client


@contextmanager
def encoder_client(kind: str, address: str, *args: Any, **options: Any) -> Iterator[Any]:
    if kind == "blocking":
        with EncoderClient(address, *args, **options) as client:
            yield client
    else:
        with driven(lambda: AsyncEncoderClient(address, *args, **options)) as client:
            yield client
