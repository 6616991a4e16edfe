"""Limits the prepared patches that wait for the tower, so that a burst of large images fits in memory."""

from __future__ import annotations


class PatchLimiter:
    """An image larger than the limit is admitted when nothing else is held."""

    def __init__(self, patches: int) -> None:
        self._max_patches = patches
        self.held = 0

    def acquire(self, patches: int) -> bool:
        """Hold the patches if they fit."""
        fits = not self.held or self.held + patches <= self._max_patches
        self.held += patches if fits else 0
        return fits

    def release(self, patches: int) -> None:
        self.held -= patches
