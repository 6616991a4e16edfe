"""Loading yields the CPU to what serves."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from fovea.server.background import NICE, in_background


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="the system has no priorities of threads")
def test_a_function_in_the_background_yields_and_other_threads_do_not() -> None:
    async def both() -> tuple[int, int]:
        return await in_background(priority), await asyncio.to_thread(priority)

    before = priority()
    assert asyncio.run(both()) == (NICE, before)
    assert priority() == before


def test_what_the_function_raises_arrives() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_background(lambda: 1 / 0))
