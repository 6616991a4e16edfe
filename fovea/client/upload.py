"""A file on its way to a service: its id, its length, its pieces.

The id is computed first, so that a service that holds the image already answers before the bytes are sent. A
file is read twice rather than held in memory; should it change in between, the service refuses it, because
the bytes no longer have the id that was announced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea.client.sources import File, as_file, name_of, reading, refuse_pdf

PIECE_BYTES = 1024 * 1024
Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all), in whatever thread sends. Not called where nothing needs to be
sent."""


def unheard(sent: int, total: int) -> None:
    """The Progress of a caller who does not care."""


@dataclass(frozen=True)
class FileUpload:
    """One image file, from a path or from memory. `name` is what errors call it; empty where it has none."""

    source: Path | bytes
    digest: str
    byte_size: int
    name: str = ""

    @classmethod
    def of(cls, source: File, name: str = "") -> FileUpload:
        """Read it once for its id. Raises OSError where it cannot be read, and what `as_file` raises."""
        kept, name = as_file(source), name or name_of(source)
        hasher, size = hashlib.sha256(), 0
        for piece in _pieces(kept):
            if not size:
                refuse_pdf(piece, name)
            hasher.update(piece)
            size += len(piece)
        return cls(kept, f"sha256:{hasher.hexdigest()}", size, name)

    def requests(self, header: Any, request: Any, progress: Progress = unheard) -> Iterator[Any]:
        """The messages of a PutImage call; `header` and `request` are the service's own message types."""
        yield request(header=header(digest=self.digest, byte_size=self.byte_size))
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
    with reading(source) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
