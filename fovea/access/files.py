"""Files of credentials, loaded anew when they change.

Files are checked for a change whenever the value is needed; that costs a few microseconds and needs no
thread. Replace a file by renaming a complete one over it, as Kubernetes does: a reader may otherwise see half
of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from fovea.contract.errors import CredentialsInvalid

T = TypeVar("T")
Version = tuple[int, int, int] | None
log = structlog.get_logger()


@dataclass(frozen=True)
class CredentialFile:
    """A file and the setting that names it. Errors name both."""

    path: Path
    setting: str

    def read(self) -> bytes:
        """Raises CredentialsInvalid if it cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self.invalid(f"cannot be read: {error.strerror}") from None

    def text(self) -> str:
        """Like `read`, for UTF-8."""
        try:
            return self.read().decode()
        except UnicodeDecodeError:
            raise self.invalid("is not UTF-8 text") from None

    def invalid(self, problem: str) -> CredentialsInvalid:
        return CredentialsInvalid(f"{self.setting}: {self.path} {problem}")

    def version(self) -> Version:
        """Differs after every change of the file; None while there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


class Reloaded(Generic[T]):
    """What `load` returned for the latest valid state of the files.

    If the changed files cannot be loaded, the last value stays and the failure is logged, once for each
    change. Thread-safe: gRPC asks for certificates from its own threads.
    """

    def __init__(self, files: Sequence[CredentialFile], load: Callable[[], T]) -> None:
        """Raises CredentialsInvalid if the files cannot be loaded now."""
        self._files = files
        self._load = load
        self._lock = threading.Lock()
        # Read before the files, so that a change during loading causes another load.
        self._versions = self._current_versions()
        self._value = load()

    def get(self) -> T:
        with self._lock:
            versions = self._current_versions()
            if versions != self._versions:
                self._versions = versions
                self._reload()
            return self._value

    def _reload(self) -> None:
        settings = ", ".join(file.setting for file in self._files)
        try:
            self._value = self._load()
        except CredentialsInvalid as error:
            log.error("credentials not reloaded", settings=settings, problem=error.message)
        else:
            log.info("credentials reloaded", settings=settings)

    def _current_versions(self) -> list[Version]:
        return [file.version() for file in self._files]
