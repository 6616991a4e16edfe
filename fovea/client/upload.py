"""A file to upload: its id, its length, its pieces.

The id is computed first, so that a service that holds the image can answer before the bytes are sent. A file
is read twice rather than held in memory. If it changes in between, the service refuses it, because the bytes
no longer match the announced id.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea.client.sources import File, as_file, name_of, reading, refuse_pdf

PIECE_BYTES = 1024 * 1024
SMALL_BYTES = 64 * 1024
"""A file of at most this size fits HTTP/2's initial window."""
Progress = Callable[[int, int], None]
"""Called with (bytes sent, total bytes), in the sending thread. Not called if nothing needs to be sent."""


def unheard(sent: int, total: int) -> None:
    """The default Progress."""


@dataclass(frozen=True)
class FileUpload:
    """An image file, from a path or from memory. `name` is its name in errors; may be empty."""

    source: Path | bytes
    digest: str
    byte_size: int
    name: str = ""

    @classmethod
    def of(cls, source: File, name: str = "") -> FileUpload:
        """Hash the file. Raises OSError if it is unreadable, and the errors of `as_file`."""
        file, name = as_file(source), name or name_of(source)
        hasher, size = hashlib.sha256(), 0
        for piece in _pieces(file):
            if not size:
                refuse_pdf(piece, name)
            hasher.update(piece)
            size += len(piece)
        return cls(file, f"sha256:{hasher.hexdigest()}", size, name)

    def requests(self, header: Any, request: Any, progress: Progress = unheard) -> Iterator[Any]:
        """The messages of a PutImage call; `header` and `request` are the service's message types.

        A small file is sent with its header: the reply could not arrive before it is sent.
        """
        announced = header(digest=self.digest, byte_size=self.byte_size)
        pieces = _pieces(self.source)
        first = next(pieces, b"") if self.byte_size <= SMALL_BYTES else b""
        yield request(header=announced, data=first)
        sent = len(first)
        if first:
            progress(sent, self.byte_size)
        for piece in pieces:
            yield request(data=piece)
            sent += len(piece)
            progress(sent, self.byte_size)


def _pieces(source: Path | bytes) -> Iterator[bytes]:
    with io.BytesIO(source) if isinstance(source, bytes) else reading(source) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
