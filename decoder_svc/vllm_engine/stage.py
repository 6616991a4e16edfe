"""What vLLM's CPU workers leave out: the buffer of a later pipeline stage for values of the stage before.

vLLM makes the buffer in the run that measures memory, which a CPU worker skips in eager mode. Then the first
request fails an assertion. vLLM mixes the class into the workers of all ranks.
"""

from __future__ import annotations

from typing import Any

EXTENSION = "decoder_svc.vllm_engine.stage.StageWorker"


class StageWorker:
    """Has no attribute of vLLM's workers, which vLLM checks."""

    def prepare_stage(self: Any) -> None:
        from vllm.distributed import get_pp_group

        runner = self.model_runner
        if not get_pp_group().is_first_rank and runner.intermediate_tensors is None:
            runner.intermediate_tensors = runner.get_model().make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
            )
