"""A shared-memory arena: a file that an encoder writes rows into and decoders on the same host read.

The file name is derived from the arena id, so no path is ever taken from a message. The owner holds a lock on
the file while it lives; creating an arena removes the files of dead owners. All memory is allocated at
creation, so a full /dev/shm is an error at start and not a later SIGBUS. Readers map the file read-only. This
module handles bytes and offsets only; allocation and meaning belong to its callers.
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
    """The arena's file is missing, belongs to another user, or is invalid. The text says which."""


def folder() -> Path:
    """The folder of arenas: /dev/shm, or the temporary folder where it does not exist."""
    return _SHARED if _SHARED.is_dir() else Path(tempfile.gettempdir())


class Arena:
    """The owner's side: `size` bytes for rows at offsets from `PAGE` on. Calls block: use threads."""

    def __init__(self, size: int, within: Path | None = None) -> None:
        """Raises OSError if there is not enough memory."""
        self.id = secrets.token_hex(16)
        self.size = size
        within = within or folder()
        sweep(within)
        self.path = within / f"{_PREFIX}{self.id}"
        unnamed = within / f".{self.path.name}"  # invisible to readers until it is complete
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
                error.errno, f"cannot create an arena of {size} bytes: {error.strerror}", str(self.path)
            ) from error

    def write(self, offset: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Write the pieces consecutively, starting at `offset`."""
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                written = os.pwrite(self._file, rest, offset)
                rest, offset = rest[written:], offset + written

    def view(self, offset: int, length: int) -> memoryview:
        """A read-only view without a copy; later writes show through."""
        return self._view[offset : offset + length]

    def close(self) -> None:
        """Unlink the file. Memory is freed when the last reader unmaps it. Idempotent."""
        self._close()


class OpenArena:
    """The reader's side: the file, mapped read-only. Unmapped when the object is garbage-collected."""

    def __init__(self, arena: str, within: Path | None = None) -> None:
        """Raises ArenaUnusable."""
        if not _ID.fullmatch(arena):
            raise ArenaUnusable("its id is invalid")
        self.id = arena
        path = (within or folder()) / f"{_PREFIX}{arena}"
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ArenaUnusable(f"it cannot be opened here: {error.strerror}") from error
        try:
            self._view = memoryview(mmap.mmap(file, _checked(file, arena), prot=mmap.PROT_READ))
        except OSError as error:
            raise ArenaUnusable(f"it cannot be mapped: {error.strerror}") from error
        finally:
            os.close(file)

    def copy(self, offset: int, length: int) -> bytes:
        """Copy bytes out of the arena. Raises ArenaUnusable for a range outside of it."""
        if offset < PAGE or length < 0 or offset + length > len(self._view):
            raise ArenaUnusable(f"{length} bytes at {offset} are outside of its {len(self._view)} bytes")
        return bytes(self._view[offset : offset + length])


def sweep(within: Path) -> None:
    """Remove this user's arenas whose owner was killed. A live owner holds the file lock."""
    for path in (*within.glob(f"{_PREFIX}*"), *within.glob(f".{_PREFIX}*")):
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, or removed meanwhile
        try:
            if os.fstat(file).st_uid == os.geteuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(file)


def _checked(file: int, arena: str) -> int:
    """Check owner, mode and header of an arena's file, and return its length."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        raise ArenaUnusable("it is not a file of this user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ArenaUnusable("others may write to it")
    header = os.pread(file, _HEADER.size, 0)
    expected = (_MAGIC, arena.encode(), status.st_size - PAGE)
    if len(header) != _HEADER.size or _HEADER.unpack(header) != expected:
        raise ArenaUnusable("its header is invalid")
    return status.st_size


def _remove(file: int, *paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    os.close(file)
