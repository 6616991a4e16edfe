"""The command imports lazily: no model library for `--help`, no stubs for `count`."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "lmdb", "encoder_svc", "decoder_svc")


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh process has loaded after `code`."""
    script = f"import sys\n{code}\nprint(' '.join(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


def test_help_and_count_load_neither_models_nor_stubs():
    run = "from fovea.cli.app import app"
    for argv in (["--help"], ["count", "10x10"]):
        run += f"\napp({argv}, standalone_mode=False)"
    loaded = loaded_after(run)
    assert not loaded & {*HEAVY, "fovea.decoder.v1.decoder_pb2", "PIL.Image"}


def test_the_client_loads_no_model_library():
    assert not loaded_after("import fovea.client") & set(HEAVY)
