"""Large bytes are hashed while the event loop does other work."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import Any

import pytest

from fovea import hashing
from fovea.contract.rows import digest

LARGE = bytes(hashing.LARGE_BYTES)


class Waiting:
    """A hash that waits for something that only the loop can do."""

    def __init__(self) -> None:
        self.loop, self.gate, self.data = asyncio.get_running_loop(), threading.Event(), b""

    def update(self, data: bytes) -> None:
        self.loop.call_soon_threadsafe(self.gate.set)
        assert self.gate.wait(timeout=10), "the event loop is held up"
        self.data += data


@pytest.mark.parametrize("data", [b"", b"small", LARGE])
async def test_digests_are_those_of_the_bytes(data: bytes) -> None:
    assert await hashing.digest_of(data) == digest(data)
    hasher = hashlib.sha256()
    await hashing.update(hasher, data)
    assert f"sha256:{hasher.hexdigest()}" == digest(data)


async def test_large_bytes_leave_the_event_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher: Any = Waiting()
    await hashing.update(hasher, LARGE)
    assert hasher.data == LARGE
    monkeypatch.setattr(hashing, "digest", hasher.update)
    await hashing.digest_of(LARGE)
