"""Tunes glibc's allocator and the garbage collector for a service process.

By default glibc returns large free blocks to the kernel at once. Each message of rows takes several such
blocks, which must be paged in again: half of a row receiver's CPU time. Here each arena keeps up to
`KEPT_BYTES` of free heap. Blocks above `LARGE_BYTES` (an uploaded photo) are still returned. By default glibc
makes eight arenas a core, and each would keep as much; `ARENAS` bounds the sum. Other C libraries are left
alone.
"""

from __future__ import annotations

import atexit
import ctypes
import gc

KEPT_BYTES = 16 * 1024 * 1024
LARGE_BYTES = 8 * 1024 * 1024
ARENAS = 2
# Constants of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def keep_freed_memory() -> bool:
    """Call it in `main`, before threads start. False if the C library does not support it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = {_M_TRIM_THRESHOLD: KEPT_BYTES, _M_MMAP_THRESHOLD: LARGE_BYTES, _M_ARENA_MAX: ARENAS}
    accepted = [bool(mallopt(option, value)) for option, value in options.items()]
    return all(accepted)


def keep_loaded_objects() -> None:
    """Freeze loaded objects: they live as long as the process, so the GC need not scan them.

    Call it once the service has loaded what it needs.
    """
    gc.collect()
    gc.freeze()
    # The interpreter's last collection skips frozen objects. Extension modules would then be unloaded while
    # their objects are alive, and nanobind would print a page about leaks after the last line of the log.
    atexit.register(gc.unfreeze)
