"""`python -m tests.fovea.cli.drive EXTRA... -- ARGV...`: runs the command with fake services.

EXTRA is `name:flag`, a flag for that service. The demo uses a test image.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fovea.cli import demo, serve
from fovea.cli.app import app
from fovea.cli.children import Launch
from fovea.cli.samples import Sample, SampleQuestion
from tests.fovea.client.fakes import png

split = sys.argv.index("--")
extra, argv = sys.argv[1:split], sys.argv[split + 1 :]
real = serve.launches


def pretended(*args: object) -> tuple[Launch, ...]:
    return tuple(replace(item, module="tests.fovea.cli.pretend", flags=_flags(item)) for item in real(*args))


def _flags(launch: Launch) -> Sequence[str]:
    own = [flag.partition(":")[2] for flag in extra if flag.startswith(launch.name)]
    return [launch.name, *launch.flags, *own]


def samples() -> list[Sample]:
    """The fake decoder answers `forty two` to everything."""
    path = Path(png(Path(tempfile.gettempdir()) / "fovea-demo-test.png"))
    right = "twelve" if "wrong" in extra else "forty two"
    return [
        Sample(path, (SampleQuestion("How many?", right), SampleQuestion("How many again?", "forty two")))
    ]


serve.launches = demo.launches = pretended
demo.load = samples
app(argv, prog_name="fovea")
