"""The length of LMDB's data file: required at opening, and kept while it is mapped.

LMDB maps the file, and a page beyond its end raises SIGBUS, which kills the process and cannot be caught. So
the length is checked before opening, against the two meta pages, and before each transaction. Layout:
`MDB_meta` in lmdb.h 0.9, data version 1, 64 bit.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import lmdb

_MAGIC = 0xBEEFC0DE
_DATA_VERSION = 1
# After a page header of 16 bytes: magic, version, map address, map size, two trees of 48 bytes (the first
# begins with the page size), last page, transaction.
_META = struct.Struct("<16xII8x8xI44x48xQQ")
_PAGE_SIZES = {1 << shift for shift in range(8, 17)}


class LengthCheck:
    """Detects that the file became shorter. It never does by LMDB: freed pages stay in it.

    Remaining gap: a file that is cut during a transaction, which then touches a lost page.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = 0

    def check(self) -> None:
        """CorruptedError if bytes were lost since the last call. Then the file gets its length back, with
        zeros, so that transactions that are running read these and no SIGBUS.
        """
        known = self._known  # read first: another thread may note a longer file meanwhile
        try:
            size = self._path.stat().st_size
        except FileNotFoundError as error:
            raise lmdb.CorruptedError("the data file is gone") from error
        self._known = max(size, known)
        if size < known:
            with suppress(OSError):
                os.truncate(self._path, known)
            raise lmdb.CorruptedError(f"the data file lost {known - size} bytes")

    def forget(self) -> None:
        """Another file took the place of the known one."""
        self._known = 0


def missing_bytes(path: Path) -> int:
    """Bytes that the newest meta page requires beyond the end of the file.

    0 for a complete, absent or empty file (LMDB creates it), and for a file whose meta pages are
    unknown to this module: LMDB rejects those itself.
    """
    if not path.exists():
        return 0
    with path.open("rb") as file:
        first = _meta(file.read(_META.size))
        if first is None:
            return 0
        page_size = first[0]
        file.seek(page_size)
        second = _meta(file.read(_META.size))
    newest = max((meta for meta in (first, second) if meta), key=lambda meta: meta[2])
    needed = (newest[1] + 1) * page_size
    return max(0, needed - path.stat().st_size)


def _meta(raw: bytes) -> tuple[int, int, int] | None:
    """(page size, last page, transaction) of a meta page."""
    if len(raw) < _META.size:
        return None
    magic, version, page_size, last_page, transaction = _META.unpack(raw)
    if (magic, version) != (_MAGIC, _DATA_VERSION) or page_size not in _PAGE_SIZES:
        return None
    return page_size, last_page, transaction
