"""When the server is near a limit, so that new requests are given less detail before any is refused.

Pure arithmetic over the load of an engine: one step of detail from the threshold on, two from halfway
between it and the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.engine.protocol import EngineLoad


@dataclass(frozen=True)
class Pressure:
    """The shares of the queue and of the KV cache from which on detail is lowered; 1 is never."""

    queue: float = 0.5
    kv: float = 0.9

    def steps(self, load: EngineLoad, max_waiting: int) -> int:
        """How many steps of detail a request loses now."""
        return max(
            _steps(load.waiting, max_waiting, self.queue),
            _steps(load.kv_used_blocks, load.kv_total_blocks, self.kv),
        )


def _steps(used: int, limit: int, threshold: float) -> int:
    share = used / limit if limit else 0.0
    if threshold >= 1 or share < threshold:
        return 0
    return 2 if share >= (1 + threshold) / 2 else 1
