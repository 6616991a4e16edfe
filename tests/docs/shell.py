"""Runs the commands of a page in a single shell, against two services started for it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.services import pair, started
from standin import model_dir

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "build" / "tools"
ENCODER, DECODER = "127.0.0.1:50051", "127.0.0.1:50052"
"""Where the pages say that the services listen."""
GUARD_S = 600.0


@dataclass(frozen=True)
class Addresses:
    """Where both services listen."""

    encoder: str
    decoder: str


@contextmanager
def services(folder: Path) -> Iterator[Addresses]:
    """A fresh encoder and decoder with the stand-in, ready, as `fovea serve` starts them."""
    encoder, decoder = pair(model_dir(), folder)
    with started([encoder, decoder]) as both:
        both.ready()
        yield Addresses(encoder.address, decoder.address)


def run(commands: Sequence[str], at: Addresses) -> list[str]:
    """The output of each block, including standard error. Blocks share a shell, so that later blocks see the
    variables of earlier blocks. Addresses in the output are those of the pages.
    """
    mark = f"--- {secrets.token_hex(8)}"
    script = "".join(f"{command}\nprintf '\\n{mark}\\n'\n" for command in commands)
    environ = os.environ | {"ENCODER": at.encoder, "DECODER": at.decoder}
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environ, text=True, check=True, timeout=GUARD_S,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    text = done.stdout.replace(at.encoder, ENCODER).replace(at.decoder, DECODER)
    *outputs, after = text.split(f"{mark}\n")
    if after or len(outputs) != len(commands):
        raise ValueError(f"{len(commands)} blocks, but {len(outputs)} outputs")
    return [output.strip("\n") + "\n" if output.strip() else "" for output in outputs]
