"""The vLLM engine on a machine without vLLM."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from decoder_svc.engine.protocol import ImageSpan, Prompt
from decoder_svc.errors import EngineNotInstalled, ModelNotDivisible
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.sampling.trie import TokenSet
from decoder_svc.vllm_engine.division import Division
from decoder_svc.vllm_engine.engine import VllmEngine
from decoder_svc.vllm_engine.launch import _prepare_environment, arguments
from decoder_svc.vllm_engine.load import LoadGauge
from decoder_svc.vllm_engine.plugin import TOKENS
from decoder_svc.vllm_engine.settings import CPU_KV_TOKENS, VllmSettings
from decoder_svc.vllm_engine.submission import identity, vllm_prompt
from fovea.contract.rows import RowDtype

WHOLE = Division(1, (4,))
HERE = importlib.util.find_spec("vllm") is not None


@pytest.mark.skipif(HERE, reason="vLLM is installed here")
async def test_without_vllm_the_start_fails_with_the_name_of_the_package(
    checkpoints: dict[str, Path],
) -> None:
    engine = VllmEngine(VllmSettings(checkpoints["moe"]))
    with patch.dict(os.environ), pytest.raises(EngineNotInstalled) as caught:
        await engine.start()
    assert caught.value.metadata == {"package": "vllm"}
    assert not engine.healthy


def test_what_a_start_leaves_in_the_environment_is_no_setting(checkpoints: dict[str, Path]) -> None:
    """Services that are started from this process inherit it, and refuse settings that they do not know."""
    with patch.dict(os.environ):
        before = set(os.environ)
        _prepare_environment(
            VllmSettings(checkpoints["moe"]), TokenSet(checkpoints["moe"], 10, frozenset({1}))
        )
        left = set(os.environ) - before
    assert TOKENS in left
    assert not [name for name in left if name.startswith("FOVEA_")]


@pytest.mark.long
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
    ("kv_tokens", "share", "on_cpu", "expected"),
    [
        (0, Fraction(1), False, None),
        (0, Fraction(1), True, CPU_KV_TOKENS * 100),
        (1000, Fraction(1), True, 100_000),
        (1000, Fraction(1, 3), False, 33_334),
    ],
)
def test_kv_bytes(kv_tokens: int, share: Fraction, on_cpu: bool, expected: int | None) -> None:
    settings = VllmSettings(Path(), kv_tokens=kv_tokens, kv_token_bytes=100)
    assert settings.kv_bytes(on_cpu, share) == expected


@pytest.mark.parametrize("reuses", [True, False])
def test_the_prefix_cache_is_vllms_setting_too(checkpoints: dict[str, Path], reuses: bool) -> None:
    settings = VllmSettings(checkpoints["moe"], prefix_cache=reuses)
    chosen = arguments(settings, Checkpoint(checkpoints["moe"]), WHOLE, on_cpu=True)
    assert chosen["enable_prefix_caching"] is reuses


@pytest.mark.parametrize(
    ("changes", "division", "expected"),
    [
        ({}, WHOLE, (1, 1, None)),
        ({"tensor_parallel": 2}, Division(2, (4,)), (2, 1, "mp")),
        ({"pipeline_parallel": 2}, Division(1, (3, 1)), (1, 2, "mp")),
        (
            {"tensor_parallel": 2, "pipeline_parallel": 2, "distributed_backend": "ray"},
            Division(2, (3, 1)),
            (2, 2, "ray"),
        ),
        ({"distributed_backend": "ray"}, WHOLE, (1, 1, "ray")),
    ],
)
def test_the_ranks_and_their_backend_are_passed_on(
    checkpoints: dict[str, Path],
    changes: dict[str, Any],
    division: Division,
    expected: tuple[int, int, str | None],
) -> None:
    settings = VllmSettings(checkpoints["moe"], kv_tokens=1000, kv_token_bytes=80, **changes)
    chosen = arguments(settings, Checkpoint(checkpoints["moe"]), division, on_cpu=True)
    named = ("tensor_parallel_size", "pipeline_parallel_size", "distributed_executor_backend")
    assert tuple(chosen[name] for name in named) == expected
    assert chosen["kv_cache_memory_bytes"] == 80_000 * division.kv_share(
        Checkpoint(checkpoints["moe"]).architecture.text_config
    )


def test_a_division_that_does_not_fit_is_refused_before_vllm_starts(checkpoints: dict[str, Path]) -> None:
    settings = VllmSettings(checkpoints["moe"], pipeline_parallel=2)
    with pytest.raises(ModelNotDivisible):
        arguments(settings, Checkpoint(checkpoints["moe"]), Division(1, (2, 2)), on_cpu=True)
