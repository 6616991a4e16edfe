"""The names of vLLM's metrics in docs/metrics.md are those of the vLLM that is installed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.deploy.documented import aliases, without_counterpart

pytestmark = pytest.mark.vllm


def _plain(names: Iterable[str]) -> set[str]:
    """Names without the `_total` that Prometheus's client adds to counters."""
    return {name.removesuffix("_total") for name in names}


def test_the_page_names_every_metric_of_vllms_logger_and_no_other() -> None:
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    logger = Path(found.origin).parent / "v1/metrics/loggers.py"
    exported = _plain(re.findall(r'"vllm:(\w+)"', logger.read_text(encoding="utf-8")))
    matched, unmatched = _plain(vllm for vllm, _, _ in aliases() if vllm), _plain(without_counterpart())
    assert len(matched) > 20
    assert matched | unmatched == exported
    assert matched & unmatched == set()
