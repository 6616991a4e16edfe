"""How full vLLM is, from the statistics of its scheduler.

vLLM reports only during steps, so an idle engine shows the figures of its last step. The engine counts its
requests itself. Knows the shape of vLLM's stat loggers, not vLLM.
"""

from __future__ import annotations

from typing import Any

from decoder_svc.engine.protocol import EngineLoad


class LoadGauge:
    """The factory of vLLM's stat logger and the logger itself."""

    def __init__(self) -> None:
        self._running = 0
        self._kv_share = 0.0
        self._preemptions = 0
        self._steps = 0
        self.blocks = 0  # of the KV cache

    def __call__(self, vllm_config: Any, engine_index: int = 0) -> LoadGauge:
        return self

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        if scheduler_stats is not None:  # of every step, also of one that ends no prompt
            self._steps += 1
            self._running = scheduler_stats.num_running_reqs
            self._kv_share = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            self._preemptions += iteration_stats.num_preempted_reqs

    def load(self, held: int) -> EngineLoad:
        """The load with `held` requests. Those that vLLM does not run wait for rows or for a slot."""
        running = min(self._running, held)
        used = round(self._kv_share * self.blocks) if held else 0
        return EngineLoad(running, held - running, used, self.blocks, self._preemptions, self._steps)

    def log(self, *args: Any) -> None:
        """Part of vLLM's interface, like the next two. `load` reports instead."""

    log_engine_initialized = record_sleep_state = log
