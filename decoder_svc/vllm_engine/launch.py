"""From our settings to a running AsyncLLM: its arguments, its environment, its failures as ours."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import structlog

from decoder_svc.errors import BackendNotSupported, EngineNotInstalled, ModelNotDivisible
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.sampling.trie import TokenSet
from decoder_svc.vllm_engine.division import Division
from decoder_svc.vllm_engine.plugin import ARCHITECTURES, TOKENS
from decoder_svc.vllm_engine.settings import VllmSettings
from decoder_svc.vllm_engine.stage import EXTENSION
from fovea.contract.errors import EngineUnavailable
from fovea.contract.rows import RowDtype

log = structlog.get_logger()
DTYPE = {RowDtype.FP32: "float32", RowDtype.BF16: "bfloat16", RowDtype.FP16: "float16"}
PLUGINS = ("vllm.general_plugins", "fovea")
# No usage reports, no hub, and logs as terse as ours. Variables that the operator sets take precedence.
QUIET = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


def launch(settings: VllmSettings, checkpoint: Checkpoint, tokens: TokenSet, stat_logger: Any) -> Any:
    """Load and, unless eager, compile the model, which takes long. Raises EngineNotInstalled,
    EngineUnavailable, ModelNotDivisible, BackendNotSupported, or ValueError for contradictory settings.
    """
    _prepare_environment(settings, tokens)
    try:
        from vllm import AsyncEngineArgs
        from vllm.config import StructuredOutputsConfig
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise EngineNotInstalled("vllm", f"vLLM cannot be imported: {error}") from error
    _require_plugin()
    _require_backend(settings.distributed_backend, current_platform)
    chosen = arguments(settings, checkpoint, _divided(settings, checkpoint), current_platform.is_cpu())
    log.info("vllm", **{name: value for name, value in chosen.items() if name != "hf_overrides"})
    # `Formats` tries formats with the same library. Other backends enforce other keywords.
    formats = StructuredOutputsConfig(backend="guidance")
    try:
        engine_args = AsyncEngineArgs(**chosen, structured_outputs_config=formats)
        return AsyncLLM.from_engine_args(engine_args, stat_loggers=[stat_logger])
    except RuntimeError as error:
        raise EngineUnavailable(f"vLLM did not start: {error}") from error


def arguments(
    settings: VllmSettings, checkpoint: Checkpoint, division: Division, on_cpu: bool
) -> dict[str, Any]:
    """The arguments of AsyncEngineArgs. Raises ModelNotDivisible."""
    division.check(checkpoint.architecture)
    share = division.kv_share(checkpoint.architecture.text_config)
    # Without ranks to start, vLLM needs no process besides its own.
    alone = settings.ranks == 1 and settings.distributed_backend == "mp"
    return {
        "model": str(settings.checkpoint),
        "dtype": DTYPE[settings.dtype],
        "hf_overrides": {"architectures": [ARCHITECTURES[str(checkpoint.model_type)]]},
        "max_model_len": settings.limits.max_context,
        "max_num_seqs": settings.max_running,
        # vLLM requires room for a token of every running request.
        "max_num_batched_tokens": max(settings.prefill_chunk, settings.max_running),
        "kv_cache_memory_bytes": settings.kv_bytes(on_cpu, share),
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "quantization": None if settings.quantization == "none" else settings.quantization,
        "tensor_parallel_size": settings.tensor_parallel,
        "pipeline_parallel_size": settings.pipeline_parallel,
        "worker_extension_cls": EXTENSION if settings.pipeline_parallel > 1 else "",
        "distributed_executor_backend": None if alone else settings.distributed_backend,
        "enforce_eager": settings.enforce_eager,
        "enable_prefix_caching": settings.prefix_cache,
        "enable_mm_embeds": True,
        # With a limit of 0 images vLLM drops deepstack and silently gives wrong answers.
        "limit_mm_per_prompt": {"image": settings.max_images, "video": 0},
        "skip_mm_profiling": True,  # there is no tower to profile
        # The encoder caches rows already; two caches across processes can disagree.
        "mm_processor_cache_gb": 0,
    }


def _prepare_environment(settings: VllmSettings, tokens: TokenSet) -> None:
    """vLLM's processes inherit the environment and read it before their arguments. `enforce_eager` alone does
    not keep the first request for log-probabilities from compiling a helper.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ[TOKENS] = tokens.packed()
    if settings.threads:
        os.environ |= {"OMP_NUM_THREADS": str(settings.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if settings.enforce_eager:
        os.environ["TORCH_COMPILE_DISABLE"] = "1"
    if settings.distributed_backend == "ray":
        # vLLM's older executor takes the images from the request before the second stage has their positions,
        # and does not notice the death of a rank.
        os.environ["VLLM_USE_RAY_V2_EXECUTOR_BACKEND"] = "1"


def _require_plugin() -> None:
    """Each process of vLLM loads our model classes through an entry point of the installed package."""
    group, name = PLUGINS
    if not entry_points(group=group, name=name):
        raise EngineNotInstalled(
            "fovea", f"fovea is not installed beside vLLM: no entry point {name} in {group}"
        )


def _require_backend(backend: str, platform: Any) -> None:
    """Raises EngineNotInstalled without Ray, BackendNotSupported where vLLM knows no resource of Ray's."""
    if backend != "ray":
        return
    if find_spec("ray") is None:
        raise EngineNotInstalled("ray", "distributed_backend ray needs the package ray")
    if not platform.ray_device_key:
        raise BackendNotSupported(backend, platform.device_type)


def _divided(settings: VllmSettings, checkpoint: Checkpoint) -> Division:
    """As vLLM divides the model. Raises ModelNotDivisible if VLLM_PP_LAYER_PARTITION does not fit."""
    from vllm.distributed.utils import get_pp_indices

    layers, stages = checkpoint.architecture.text_config.num_hidden_layers, settings.pipeline_parallel
    try:
        bounds = [get_pp_indices(layers, stage, stages) for stage in range(stages)]
    except ValueError as error:
        why = f"does not fit VLLM_PP_LAYER_PARTITION: {error}"
        raise ModelNotDivisible("pipeline_parallel", stages, why) from error
    return Division(settings.tensor_parallel, tuple(end - start for start, end in bounds))
