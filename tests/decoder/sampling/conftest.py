"""Formats compiled in child processes, with the stand-in's tokens, and the real vocabulary if it was fetched."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from decoder_svc.engine.protocol import EngineLimits
from decoder_svc.sampling.formats import Formats
from decoder_svc.sampling.trie import TokenSet
from standin import model_dir

ROOT = Path(__file__).parents[3]
MAKE_FORMATS = Callable[..., AbstractAsyncContextManager[Formats]]


@pytest.fixture(scope="session")
def tokens() -> TokenSet:
    size = json.loads((model_dir() / "config.json").read_text())["text_config"]["vocab_size"]
    return TokenSet(model_dir(), size, frozenset((999, 1001)))


@pytest.fixture
def formats(tokens: TokenSet) -> MAKE_FORMATS:
    """Format compilation with the given limits. Always closed."""

    @asynccontextmanager
    async def make(**limits: Any) -> AsyncIterator[Formats]:
        made = Formats(tokens, EngineLimits(**limits))
        try:
            yield made
        finally:
            made.close()

    return make


@pytest.fixture(scope="session")
def vocabulary() -> Path:
    """Qwen3's tokenizer.json. If it is missing, the test is skipped, or fails if nothing may be skipped."""
    path = ROOT / "build" / "qwen3" / "tokenizer.json"
    if not path.exists():
        told = f"{path.relative_to(ROOT)} is missing; `make test` fetches it where npm is there"
        (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(told)
    return path
