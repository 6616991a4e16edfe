"""Where a peer's environment is: vLLM has one of its own, because it pins torch."""

from __future__ import annotations

import os
from pathlib import Path

from bench.host import ROOT

VLLM = "BENCH_VLLM"


def vllm_python() -> Path | None:
    """The interpreter of `make test-vllm`, or of the environment that `BENCH_VLLM` names; None if missing."""
    python = Path(os.environ.get(VLLM, ROOT / ".venv-vllm")) / "bin" / "python"
    return python if python.exists() else None


def vllm_environ(python: Path, threads: int) -> dict[str, str]:
    """As vLLM's manual advises for a CPU: Intel's OpenMP where it is installed, and all the cores."""
    preload = python.parents[1] / "lib" / "libiomp5.so"
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    threaded = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
    return quiet | threaded | ({"LD_PRELOAD": str(preload)} if preload.exists() else {})
