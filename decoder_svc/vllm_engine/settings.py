"""The settings of the vLLM engine. No import of vLLM."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from decoder_svc.engine.protocol import EngineLimits
from fovea.contract.rows import RowDtype

CPU_KV_TOKENS = 32_768


@dataclass(frozen=True)
class VllmSettings:
    """Zero and empty leave the decision to vLLM."""

    checkpoint: Path
    dtype: RowDtype = RowDtype.BF16
    kv_tokens: int = 0  # on a CPU 0 means CPU_KV_TOKENS, because vLLM would claim most of the memory
    kv_token_bytes: int = 0  # keys and values of a token in all layers
    prefill_chunk: int = 512
    max_running: int = 32
    max_images: int = 32
    threads: int = 0
    quantization: str = "none"
    prefix_cache: bool = True
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    distributed_backend: Literal["mp", "ray"] = "mp"
    gpu_memory_utilization: float = 0.9
    enforce_eager: bool = False
    limits: EngineLimits = field(default_factory=EngineLimits)

    @property
    def ranks(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel

    def kv_bytes(self, on_cpu: bool, share: Fraction) -> int | None:
        """Bytes of the KV cache of a rank that holds `share` of a token; None leaves it to
        `gpu_memory_utilization`.
        """
        tokens = self.kv_tokens or (CPU_KV_TOKENS if on_cpu else 0)
        return math.ceil(tokens * self.kv_token_bytes * share) or None
