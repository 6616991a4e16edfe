"""What the C library does with memory that was freed, chosen once for the process of a service.

By default glibc gives large blocks back to the kernel as soon as they are free. Every message of rows is
such a block, several times over, so each is paged in anew: half of the processor time of whoever receives
rows. Here a process keeps up to `KEPT_BYTES` at the end of its heap instead. Blocks beyond `LARGE_BYTES` (a
photo that was decoded) go back as before. Where the C library is another one, nothing happens.
"""

from __future__ import annotations

import atexit
import ctypes
import gc

KEPT_BYTES = 64 * 1024 * 1024
LARGE_BYTES = 32 * 1024 * 1024  # glibc takes no more
# Numbers of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Call it in `main`, before threads start. False where the C library knows no such choice."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))


def keep_loaded_objects() -> None:
    """Call it once what the service needs is loaded: that lives as long as the process, and no collection of
    garbage walks it again.
    """
    gc.collect()
    gc.freeze()
    # The interpreter's last collection skips what is frozen. Extension modules would then find their objects
    # alive when they are unloaded, and nanobind's print a page about leaks after the last line of the log.
    atexit.register(gc.unfreeze)
