"""An arena: one file in shared memory that an encoder writes rows into and that others on its host read.

Its name follows from its id, so that no path is ever taken from a message. The owner holds a lock on the file
while it lives; whoever makes an arena removes those whose owner is gone. All of its memory is taken when it
is made: a full /dev/shm is an error at the start and not a signal later. Readers map the file and may not
write. This module knows bytes and where they stand; what they mean and who may reuse a place, others know.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import secrets
import stat
import struct
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

PAGE = 4096
"""The first page holds the header."""
_HEADER = struct.Struct("<8s32sQ")
_MAGIC = b"FVARENA1"
_PREFIX = "fovea-arena-"
_ID = re.compile(r"[0-9a-f]{32}")
_SHARED = Path("/dev/shm")


class ArenaUnusable(Exception):
    """The file of an arena is not here, not the owner's, or not what it should be. The text says which."""


def folder() -> Path:
    """Where arenas lie: in memory, or among temporary files where there is no /dev/shm."""
    return _SHARED if _SHARED.is_dir() else Path(tempfile.gettempdir())


class Arena:
    """The owner's side. `size` bytes for rows, at offsets from `PAGE` on. Blocks: beside an event loop."""

    def __init__(self, size: int, within: Path | None = None) -> None:
        """Raises OSError where there is no room."""
        self.id = secrets.token_hex(16)
        self.size = size
        within = within or folder()
        sweep(within)
        self.path = within / f"{_PREFIX}{self.id}"
        unnamed = within / f".{self.path.name}"  # no reader finds it yet
        self._file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._close = weakref.finalize(self, _remove, self._file, unnamed, self.path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            os.posix_fallocate(self._file, 0, PAGE + size)
            self._view = memoryview(mmap.mmap(self._file, PAGE + size, prot=mmap.PROT_READ))
            os.pwrite(self._file, _HEADER.pack(_MAGIC, self.id.encode(), size), 0)
            unnamed.rename(self.path)
        except OSError as error:
            self.close()
            raise OSError(
                error.errno, f"no arena of {size} bytes: {error.strerror}", str(self.path)
            ) from error

    def write(self, offset: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Pieces one behind the other from `offset` on."""
        for piece in pieces:
            left = memoryview(piece)
            while left:
                done = os.pwrite(self._file, left, offset)
                left, offset = left[done:], offset + done

    def view(self, offset: int, length: int) -> memoryview:
        """Read-only, and never a copy: it shows what is written there later."""
        return self._view[offset : offset + length]

    def close(self) -> None:
        """The name goes at once; the memory when the last reader has let go. Closing again does nothing."""
        self._close()


class OpenArena:
    """A reader's side: the file mapped, never written. Let go when nobody refers to it."""

    def __init__(self, arena: str, within: Path | None = None) -> None:
        """Raises ArenaUnusable."""
        if not _ID.fullmatch(arena):
            raise ArenaUnusable("its id is none")
        self.id = arena
        path = (within or folder()) / f"{_PREFIX}{arena}"
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ArenaUnusable(f"it cannot be opened here: {error.strerror}") from error
        try:
            self._map = mmap.mmap(file, _checked(file, arena), prot=mmap.PROT_READ)
        except OSError as error:
            raise ArenaUnusable(f"it cannot be mapped: {error.strerror}") from error
        finally:
            os.close(file)
        self._view = memoryview(self._map)

    def copy(self, offset: int, length: int) -> bytes:
        """Bytes of the caller's own. Raises ArenaUnusable where they would lie outside."""
        if offset < PAGE or length < 0 or offset + length > len(self._view):
            raise ArenaUnusable(f"{length} bytes at {offset} lie outside of its {len(self._view)}")
        return bytes(self._view[offset : offset + length])


def sweep(within: Path) -> None:
    """Remove arenas of ours whose owner is gone: killed, it could not. A lock says that it lives."""
    for path in (*within.glob(f"{_PREFIX}*"), *within.glob(f".{_PREFIX}*")):
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # not ours, or gone meanwhile
        try:
            if os.fstat(file).st_uid == os.geteuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(file)


def _checked(file: int, arena: str) -> int:
    """The length of an arena's file, once it is sure that it is one, and nobody else's."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
        raise ArenaUnusable("it is not a file of this user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ArenaUnusable("others may write to it")
    head = os.pread(file, _HEADER.size, 0)
    if len(head) != _HEADER.size or _HEADER.unpack(head) != (_MAGIC, arena.encode(), found.st_size - PAGE):
        raise ArenaUnusable("its header does not fit")
    return found.st_size


def _remove(file: int, *paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    os.close(file)
