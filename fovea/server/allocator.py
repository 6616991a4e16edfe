"""Tunes glibc's allocator and the garbage collector for a service process.

By default glibc returns large free blocks to the kernel at once. Each message of rows takes several such
blocks, which must be paged in again: half of a row receiver's CPU time. Here the process keeps up to
`KEPT_BYTES` at the end of its heap. Blocks above `LARGE_BYTES` (a decoded photo) are still returned. Other C
libraries are left alone.
"""

from __future__ import annotations

import atexit
import ctypes
import gc

KEPT_BYTES = 32 * 1024 * 1024
LARGE_BYTES = 32 * 1024 * 1024  # the maximum of glibc
# Constants of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Call it in `main`, before threads start. False if the C library does not support it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))


def keep_loaded_objects() -> None:
    """Freeze loaded objects: they live as long as the process, so the GC need not scan them.

    Call it once the service has loaded what it needs.
    """
    gc.collect()
    gc.freeze()
    # The interpreter's last collection skips frozen objects. Extension modules would then be unloaded while
    # their objects are alive, and nanobind would print a page about leaks after the last line of the log.
    atexit.register(gc.unfreeze)
