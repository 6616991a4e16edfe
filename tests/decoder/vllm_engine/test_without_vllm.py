"""The vLLM engine on a machine without vLLM."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from decoder_svc.engine.protocol import ImageSpan, Prompt
from decoder_svc.errors import EngineNotInstalled
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.vllm_engine.engine import VllmEngine
from decoder_svc.vllm_engine.launch import arguments
from decoder_svc.vllm_engine.load import LoadGauge
from decoder_svc.vllm_engine.settings import CPU_KV_TOKENS, VllmSettings
from decoder_svc.vllm_engine.submission import identity, vllm_prompt
from fovea.contract.rows import RowDtype

HERE = importlib.util.find_spec("vllm") is not None


@pytest.mark.skipif(HERE, reason="vLLM is installed here")
async def test_without_vllm_the_start_fails_with_the_name_of_the_package(
    checkpoints: dict[str, Path],
) -> None:
    engine = VllmEngine(VllmSettings(checkpoints["moe"]))
    with pytest.raises(EngineNotInstalled) as caught:
        await engine.start()
    assert caught.value.metadata == {"package": "vllm"}
    assert not engine.healthy


def test_the_decoder_imports_no_vllm_before_an_engine_starts() -> None:
    script = "import sys, decoder_svc.app; print('vllm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_rows_are_keyed_by_key_grid_and_kept_indices() -> None:
    def name(key: bytes = b"k", grid: tuple[int, int, int] = (1, 4, 4), kept: list[int] | None = None) -> str:
        places = None if kept is None else np.array(kept, np.int32)
        return identity(ImageSpan(0, grid, 4 if kept is None else len(kept), places, key))

    assert name() == name()
    others = [name(b"l"), name(grid=(1, 8, 2)), name(kept=[0, 1]), name(kept=[0, 2]), name(b""), name(b"")]
    assert len({name(), *others}) == 1 + len(others)


def test_prompts_of_another_salt_share_no_kv() -> None:
    def prompt(salt: bytes) -> Prompt:
        return Prompt(np.zeros(2, np.int32), np.zeros((3, 2), np.int32), 2, salt=salt)

    salts = [vllm_prompt(prompt(salt), [], RowDtype.FP32).get("cache_salt") for salt in (b"", b"x", b"y")]
    assert salts == [None, "78", "79"]


def test_every_step_of_vllm_is_progress_and_the_load_is_of_held_calls() -> None:
    """A step of a long prompt reports its scheduler only, because no token ends it."""
    gauge = LoadGauge()
    stats = SimpleNamespace(num_running_reqs=2, kv_cache_usage=0.5)
    gauge.record(stats, None)
    gauge.record(stats, SimpleNamespace(num_preempted_reqs=1))
    load = gauge.load(held=1)
    assert (load.steps, load.running, load.waiting, load.preemptions) == (2, 1, 0, 1)


@pytest.mark.parametrize(
    ("kv_tokens", "parallel", "on_cpu", "expected"),
    [
        (0, 1, False, None),
        (0, 1, True, CPU_KV_TOKENS * 100),
        (1000, 1, True, 100_000),
        (1000, 4, False, 25_000),
    ],
)
def test_kv_bytes(kv_tokens: int, parallel: int, on_cpu: bool, expected: int | None) -> None:
    settings = VllmSettings(Path(), kv_tokens=kv_tokens, kv_token_bytes=100, tensor_parallel=parallel)
    assert settings.kv_bytes(on_cpu) == expected


@pytest.mark.parametrize("reuses", [True, False])
def test_the_prefix_cache_is_vllms_setting_too(checkpoints: dict[str, Path], reuses: bool) -> None:
    settings = VllmSettings(checkpoints["moe"], prefix_cache=reuses)
    chosen = arguments(settings, Checkpoint(checkpoints["moe"]), on_cpu=True)
    assert chosen["enable_prefix_caching"] is reuses
