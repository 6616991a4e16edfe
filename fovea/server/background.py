"""Runs a function in a thread that yields the CPU to other threads and processes of the host.

Loading a model takes seconds of CPU time. At normal priority it slows down the services beside it, which
serve meanwhile what the loading process does not.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
NICE = 5
"""A third of the share that other threads get of a contended core: a start on a busy host still ends."""


async def in_background(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Threads that the function starts inherit the priority."""
    pool = ThreadPoolExecutor(1, "background", _lower_priority)
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(function, *args, **kwargs))
    finally:
        pool.shutdown(wait=False)


def _lower_priority() -> None:
    """On Linux a priority is that of a thread."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
