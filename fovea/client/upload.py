"""A file on its way to a service: its id, its length, its pieces.

The id is computed first, so that a service that holds the image already answers before the bytes are sent. A
file is read twice rather than held in memory; should it change in between, the service refuses it, because
the bytes no longer have the id that was announced.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

File = str | os.PathLike[str] | bytes
"""A path, or the bytes of a file."""

PIECE_BYTES = 1024 * 1024
MOST_BYTES = 2**32 - 1
"""What the header's field can say; every service refuses far smaller files."""

Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all), in whatever thread sends. Not called where nothing needs to be
sent."""


def unheard(sent: int, total: int) -> None:
    """The Progress of a caller who does not care."""


@dataclass(frozen=True)
class FileUpload:
    """One image file, from a path or from memory."""

    source: Path | bytes
    digest: str
    byte_size: int

    @classmethod
    def of(cls, source: File) -> FileUpload:
        """Read it once for its id. Raises OSError where it cannot be read."""
        kept = source if isinstance(source, bytes) else Path(source)
        hasher, size = hashlib.sha256(), 0
        for piece in _pieces(kept):
            hasher.update(piece)
            size += len(piece)
        return cls(kept, f"sha256:{hasher.hexdigest()}", size)

    def requests(self, header: Any, request: Any, progress: Progress = unheard) -> Iterator[Any]:
        """The messages of a PutImage call; `header` and `request` are the service's own message types."""
        yield request(header=header(digest=self.digest, byte_size=min(self.byte_size, MOST_BYTES)))
        sent = 0
        for piece in _pieces(self.source):
            yield request(data=piece)
            sent += len(piece)
            progress(sent, self.byte_size)


def _pieces(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        for at in range(0, len(source), PIECE_BYTES):
            yield source[at : at + PIECE_BYTES]
        return
    with source.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
