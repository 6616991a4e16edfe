"""A vLLM per kind of checkpoint for the whole run, because it starts slowly; all in the same event loop."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decoder_svc.engine.protocol import EngineLimits
from decoder_svc.vllm_engine.engine import VllmEngine
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea.contract.rows import RowDtype
from tests import tiny
from tests.decoder.native_engine.conftest import questions, references  # noqa: F401  fixtures
from tests.decoder.native_engine.harness import is_empty, until

HEAD = 32  # vLLM's attention on a CPU takes no heads of 16
# Keys and values, 4 layers, 2 KV heads, fp32: tests/tiny.py.
TOKEN_BYTES = 2 * 4 * 2 * HEAD * 4


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def settings(folder: Path, **changes: Any) -> VllmSettings:
    defaults: dict[str, Any] = {
        "dtype": RowDtype.FP32,
        "kv_tokens": 8192,
        "kv_token_bytes": TOKEN_BYTES,
        "prefill_chunk": 64,  # cuts inside images
        "max_running": 8,
        "max_images": 8,
        "threads": 1,
        "enforce_eager": True,
        "limits": EngineLimits(max_context=1024, max_new_tokens=64),
    }
    return VllmSettings(folder, **(defaults | changes))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vllm")
    return {kind: tiny.checkpoint(root / kind, kind, head_dim=HEAD) for kind in ("moe", "dense")}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(checkpoints: dict[str, Path]) -> AsyncIterator[dict[str, VllmEngine]]:
    running = {kind: VllmEngine(settings(folder)) for kind, folder in checkpoints.items()}
    try:
        for engine in running.values():
            await engine.start()
        yield running
    finally:
        for engine in running.values():
            await engine.close()


@pytest_asyncio.fixture(loop_scope="session")
async def engine(engines: dict[str, VllmEngine]) -> AsyncIterator[VllmEngine]:
    """The engine of the tiny MoE. A test that leaves requests in it fails."""
    yield engines["moe"]
    await until(lambda: is_empty(engines["moe"]))  # type: ignore[arg-type]
    assert engines["moe"].healthy
