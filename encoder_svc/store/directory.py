"""The directory of a store: its lock, the folder of the environment, and a quarantined environment.

    lock            held while the store is open, by a single process
    env/            LMDB's data.mdb and lock.mdb, mode 0700
    env.suspect     marks that LMDB reported damaged pages: the next opening starts empty
    crash           stack of a process killed by a signal such as SIGBUS: see `crash`
    env.set-aside/  the last unusable environment, kept for inspection until something is deleted
    env.next/       a compaction in progress, otherwise left by a killed process and deleted
    erasure-due     marks that a deletion waits for a compaction

The environment is a subfolder, because a mounted volume cannot be renamed. Handles files, not records.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import structlog

from encoder_svc.store.crash import CrashRecord
from fovea.contract.errors import StoreInUse

_log = structlog.get_logger(__name__)


class StoreDirectory:
    """Locks `path` and creates it if missing. Raises StoreInUse if another store holds it; OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = path / "env"
        self._suspect = path / "env.suspect"
        self._set_aside = path / "env.set-aside"
        self._next = path / "env.next"
        self._erasure_due = path / "erasure-due"
        self.crash = CrashRecord(path / "crash")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take_lock()
        except BaseException:
            self.release()
            raise

    def _take_lock(self) -> None:
        # lockf would let this process open the same environment twice.
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreInUse(
                f"the store at {self.path} is open already: one encoder, one directory",
                directory=self.path,
            ) from error

    def make_env(self) -> Path:
        """The environment's folder, readable by this user only."""
        self.env.mkdir(mode=0o700, exist_ok=True)
        self.env.chmod(0o700)
        return self.env

    def make_next_env(self) -> Path:
        self._next.mkdir(mode=0o700)
        return self._next

    def adopt_next_env(self) -> None:
        """Replace the data file by that of the compaction, at once and durably. Both must be closed.

        Its lock file comes too: a reader of another process keeps the old one, which knows the old file.
        """
        (self._next / "lock.mdb").replace(self.env / "lock.mdb")
        (self._next / self.data_file.name).replace(self.data_file)
        folder = os.open(self.env, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def forget_next_env(self) -> None:
        shutil.rmtree(self._next, ignore_errors=True)

    @property
    def erasure_due(self) -> bool:
        return self._erasure_due.exists()

    def mark_erasure_due(self) -> None:
        self._erasure_due.touch(mode=0o600)

    def clear_erasure_due(self) -> None:
        self._erasure_due.unlink(missing_ok=True)

    @property
    def data_file(self) -> Path:
        return self.env / "data.mdb"

    @property
    def is_suspect(self) -> bool:
        return self._suspect.exists()

    def mark_suspect(self) -> None:
        self._suspect.touch(mode=0o600)

    @property
    def crashed_inside(self) -> bool:
        """Whether a signal killed the last process while it ran the store's code."""
        return self.crash.names(Path(__file__).parent)

    def oddity(self) -> str | None:
        """A file of the wrong type in place of LMDB's folder or files."""
        if self.env.exists() and not self.env.is_dir():
            return "env is not a folder"
        for file in (self.data_file, self.env / "lock.mdb"):
            if file.exists() and not file.is_file():
                return f"{file.name} is not a regular file"
        return None

    def quarantine(self, reason: str) -> None:
        """Set the environment aside, replacing the last, so that the next opening starts empty."""
        self.forget_set_aside()
        if self.env.exists():
            self.env.rename(self._set_aside)
        self._suspect.unlink(missing_ok=True)
        self.crash.clear()
        _log.warning("store_quarantined", reason=reason)

    def forget_set_aside(self) -> None:
        if self._set_aside.is_dir() and not self._set_aside.is_symlink():
            shutil.rmtree(self._set_aside, ignore_errors=True)
        else:
            self._set_aside.unlink(missing_ok=True)

    def release(self) -> None:
        os.close(self._lock)
