"""Readers that are installed here. Where SKIP_NOTHING is set, as in CI, a missing reader fails its tests."""

from __future__ import annotations

import os

import pytest

from encoder_svc.reading.engine import ReaderIdentity, find_reader
from fovea.contract.errors import TextReaderMissing


def require_reader(name: str = "rapidocr") -> ReaderIdentity:
    """Skips the test if the reader is not installed."""
    try:
        return find_reader(name)
    except TextReaderMissing as missing:
        fail = pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip
        fail(missing.message)
        raise
