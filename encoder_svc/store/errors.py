"""Failures of the store as a whole. A lost or damaged record is a miss, not an error."""

from __future__ import annotations

import lmdb


class Unsound(lmdb.CorruptedError):
    """Tables of the store contradict each other. Handled like LMDB's own error for damaged pages."""
