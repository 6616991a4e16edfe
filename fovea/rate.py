"""How long work takes, measured on the latest work."""

from __future__ import annotations

RECENT = 0.1
"""Weight of the latest measurement in the moving averages."""


class Rate:
    """Seconds per unit of work, of the latest work. Larger work weighs more."""

    def __init__(self) -> None:
        self._amount = self._seconds = 0.0

    def note(self, amount: float, seconds: float) -> None:
        """Add a measurement. Work of no size or no duration is ignored."""
        if amount > 0 and seconds > 0:
            self._amount += RECENT * (amount - self._amount)
            self._seconds += RECENT * (seconds - self._seconds)

    def seconds(self, amount: float) -> float:
        """Estimate for `amount` units; 0 before the first measurement."""
        return amount * self._seconds / self._amount if self._amount else 0.0
