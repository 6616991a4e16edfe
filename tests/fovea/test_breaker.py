"""The breaker probes in the background until the service serves."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from fovea.breaker import Breaker

request: ContextVar[str] = ContextVar("request", default="")


async def test_a_probe_belongs_to_no_request() -> None:
    """It outlives the request that met the failure: its calls must not carry that id into the logs."""
    seen = list[str]()

    async def probe() -> bool:
        seen.append(request.get())
        return True

    breaker = Breaker("here", probe)
    request.set("a")
    breaker.trip()
    async with asyncio.timeout(30):
        await breaker.until_closed()
    assert seen == [""]
