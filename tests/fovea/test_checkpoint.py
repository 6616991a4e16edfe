"""The files of a checkpoint folder, found without reading tensors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fovea.checkpoint import SINGLE, shards
from fovea.contract.errors import CheckpointNotSupported


def test_a_file_that_is_a_pipe_is_a_file_of_the_checkpoint(tmp_path: Path) -> None:
    """A shell's `<(...)` or a decrypting process may stand behind it."""
    with pytest.raises(CheckpointNotSupported):
        shards(tmp_path)
    os.mkfifo(tmp_path / SINGLE)
    assert shards(tmp_path) == [tmp_path / SINGLE]
