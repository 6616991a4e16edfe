"""The bytes of an upload are kept as they arrive, and their memory goes back to the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

from encoder_svc.uploads import UploadBuffer


def test_a_buffer_has_the_pieces_in_order() -> None:
    buffer = UploadBuffer(10)
    assert buffer.data == b""
    for piece in (b"abc", b"", b"defg", b"hij"):
        buffer.add(piece)
    assert buffer.data == b"abcdefghij"
    assert buffer.data.readonly


MEMORY = """
import os, sys
from pathlib import Path
from encoder_svc.uploads import UploadBuffer
from fovea.server.allocator import keep_freed_memory
PIECE, PIECES = 2**20, 31

def kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

def in_pages():
    buffer = UploadBuffer(32 * PIECE)
    for _ in range(PIECES):
        buffer.add(os.urandom(PIECE))
    return buffer.data

def on_the_heap():
    return b"".join([os.urandom(PIECE) for _ in range(PIECES)])

if not keep_freed_memory():
    sys.exit("another C library")
before = kib()
{how}()
print((kib() - before) / 1024)
"""


@pytest.mark.parametrize(("how", "stays"), [("in_pages", False), ("on_the_heap", True)])
def test_a_large_upload_leaves_no_memory_behind(how: str, stays: bool) -> None:
    """The second case is what the buffer is for."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.replace("{how}", how)], capture_output=True, text=True, timeout=60
    )
    if "another C library" in done.stderr:
        pytest.skip("the C library is not glibc")
    assert (float(done.stdout) > 4) == stays
