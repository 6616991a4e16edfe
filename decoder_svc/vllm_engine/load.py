"""How full vLLM is, from what its scheduler reports with every step.

Between steps nothing is reported, so an idle engine shows the figures of its last step; requests are counted
by ourselves too. Knows the shape of vLLM's stat loggers and not vLLM.
"""

from __future__ import annotations

from typing import Any

from decoder_svc.engine.protocol import EngineLoad


class LoadGauge:
    """Called by vLLM as the factory of its stat logger, and then as the logger itself."""

    def __init__(self) -> None:
        self._running = 0
        self._kv_share = 0.0
        self._preemptions = 0
        self._blocks = 0

    def __call__(self, vllm_config: Any, engine_index: int = 0) -> LoadGauge:
        return self

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        if scheduler_stats is not None:
            self._running = scheduler_stats.num_running_reqs
            self._kv_share = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            self._preemptions += iteration_stats.num_preempted_reqs

    def set_blocks(self, blocks: int) -> None:
        self._blocks = blocks

    def load(self, held: int) -> EngineLoad:
        """`held` requests are with us; those that vLLM does not run wait, for rows or for a place."""
        running = min(self._running, held)
        used = round(self._kv_share * self._blocks) if held else 0
        return EngineLoad(running, held - running, used, self._blocks, self._preemptions)

    def log(self) -> None:
        """Told by its reader instead."""

    def log_engine_initialized(self) -> None:
        """Told by its reader instead."""

    def record_sleep_state(self, is_awake: int, level: int) -> None:
        """It never sleeps."""
