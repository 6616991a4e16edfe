"""Ends the work for an HTTP client that has gone, at once: its gRPC call is cancelled, its slot is free."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

from gateway_svc.errors import ClientGone


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Await the work. If the client closes its connection first, cancel the work and raise ClientGone.

    The body must have been read: what `receive` then returns is the end of the connection.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return
        raise ClientGone
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.wait({task})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
