"""From our settings to a running AsyncLLM: its arguments, its environment, its failures as ours."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any

import structlog

from decoder_svc.errors import EngineNotInstalled
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.vllm_engine.plugin import ARCHITECTURES
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea.contract.errors import EngineUnavailable
from fovea.contract.rows import RowDtype

log = structlog.get_logger()
DTYPE = {RowDtype.FP32: "float32", RowDtype.BF16: "bfloat16", RowDtype.FP16: "float16"}
PLUGINS = ("vllm.general_plugins", "fovea")
# No usage reports, no hub, and logs as terse as ours. Variables that the operator sets take precedence.
QUIET = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


def launch(settings: VllmSettings, checkpoint: Checkpoint, stat_logger: Any) -> Any:
    """Load and, unless eager, compile the model, which takes long. Raises EngineNotInstalled,
    EngineUnavailable, or ValueError for contradictory settings.
    """
    _prepare_environment(settings)
    try:
        from vllm import AsyncEngineArgs
        from vllm.config import StructuredOutputsConfig
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise EngineNotInstalled("vllm", f"vLLM cannot be imported: {error}") from error
    _require_plugin()
    chosen = arguments(settings, checkpoint, current_platform.is_cpu())
    log.info("vllm", **{name: value for name, value in chosen.items() if name != "hf_overrides"})
    # `Formats` tries formats with the same library. Other backends enforce other keywords.
    formats = StructuredOutputsConfig(backend="guidance")
    try:
        engine_args = AsyncEngineArgs(**chosen, structured_outputs_config=formats)
        return AsyncLLM.from_engine_args(engine_args, stat_loggers=[stat_logger])
    except RuntimeError as error:
        raise EngineUnavailable(f"vLLM did not start: {error}") from error


def arguments(settings: VllmSettings, checkpoint: Checkpoint, on_cpu: bool) -> dict[str, Any]:
    """The arguments of AsyncEngineArgs."""
    return {
        "model": str(settings.checkpoint),
        "dtype": DTYPE[settings.dtype],
        "hf_overrides": {"architectures": [ARCHITECTURES[str(checkpoint.model_type)]]},
        "max_model_len": settings.limits.max_context,
        "max_num_seqs": settings.max_running,
        # vLLM requires room for a token of every running request.
        "max_num_batched_tokens": max(settings.prefill_chunk, settings.max_running),
        "kv_cache_memory_bytes": settings.kv_bytes(on_cpu),
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "quantization": None if settings.quantization == "none" else settings.quantization,
        "tensor_parallel_size": settings.tensor_parallel,
        "pipeline_parallel_size": settings.pipeline_parallel,
        "enforce_eager": settings.enforce_eager,
        "enable_prefix_caching": settings.prefix_cache,
        "enable_mm_embeds": True,
        # With a limit of 0 images vLLM drops deepstack and silently gives wrong answers.
        "limit_mm_per_prompt": {"image": settings.max_images, "video": 0},
        "skip_mm_profiling": True,  # there is no tower to profile
        # The encoder caches rows already; two caches across processes can disagree.
        "mm_processor_cache_gb": 0,
    }


def _prepare_environment(settings: VllmSettings) -> None:
    """vLLM's processes inherit the environment and read it before their arguments. `enforce_eager` alone does
    not keep the first request for log-probabilities from compiling a helper.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if settings.threads:
        os.environ |= {"OMP_NUM_THREADS": str(settings.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if settings.enforce_eager:
        os.environ["TORCH_COMPILE_DISABLE"] = "1"


def _require_plugin() -> None:
    """Each process of vLLM loads our model classes through an entry point of the installed package."""
    group, name = PLUGINS
    if not entry_points(group=group, name=name):
        raise EngineNotInstalled(
            "fovea", f"fovea is not installed beside vLLM: no entry point {name} in {group}"
        )
