"""Lowers the detail of new requests when the engine is near a limit, before any request is refused.

Pure arithmetic over the engine's load: a step of detail above the threshold, two steps above the midpoint
between threshold and limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.engine.protocol import EngineLoad


@dataclass(frozen=True)
class Pressure:
    """Thresholds, as shares of the queue and of the KV cache; 1 disables lowering."""

    queue: float = 0.5
    kv: float = 0.9

    def steps(self, load: EngineLoad, max_waiting: int) -> int:
        """Steps of detail by which to lower a new request."""
        return max(
            _steps(load.waiting, max_waiting, self.queue),
            _steps(load.kv_used_blocks, load.kv_total_blocks, self.kv),
        )


def _steps(used: int, limit: int, threshold: float) -> int:
    share = used / limit if limit else 0.0
    if threshold >= 1 or share < threshold:
        return 0
    return 2 if share >= (1 + threshold) / 2 else 1
