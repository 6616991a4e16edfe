"""What can go wrong with the store as a whole. A lost or damaged record is no error but a miss."""

from __future__ import annotations

import lmdb


class Unsound(lmdb.CorruptedError):
    """Tables of the store that contradict each other. Handled as LMDB's own word for damaged pages."""
