"""The services under measurement: processes of their own on free ports, each with a cache of its own.

They are started by flags, as anybody would start them; the caller's `FOVEA_` variables are kept from them, so
that a figure never depends on what happened to be set. Starting, waiting and stopping are those of `fovea
serve`.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fovea.cli.children import Child, Children, Launch
from fovea.cli.readiness import wait_until_ready
from fovea.cli.serve import launches
from fovea.errors import FoveaError

START_S = 300.0
_LAST_LINES = 15
_QUIET = ("--metrics-listen", "", "--log-level", "warning")


@dataclass(frozen=True)
class Services:
    """A group of services; started, and ready once `ready` has returned."""

    children: Children
    running: Sequence[Child]

    def ready(self) -> None:
        """Raises ServiceDied or NotReadyInTime."""
        wait_until_ready(self.children, self.running, START_S, lambda child, seconds: None, _pause)


@contextmanager
def started(launched: Sequence[Launch]) -> Iterator[Services]:
    """Start services together; leaving stops them. The logs of a run that fails go to stderr."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOVEA_")}
    with Children(environ, lambda name, line: None) as children:
        try:
            yield Services(children, [children.start(launch) for launch in launched])
        except FoveaError:
            for name, line in children.tail(_LAST_LINES):
                print(f"{name} | {line}", file=sys.stderr)
            raise


def pair(model: Path, folder: Path, flags: Sequence[str] = ()) -> tuple[Launch, Launch]:
    """How to start an encoder, caching in `folder`, and the decoder that asks it; `flags` go to both."""
    cache = ("--cache-dir", str(folder))
    return launches(model, free_address(), free_address(), [*cache, *_QUIET, *flags], [*_QUIET, *flags])


def encoder(model: Path, folder: Path) -> Launch:
    """How to start an encoder alone."""
    return pair(model, folder)[0]


def free_address() -> str:
    """An address on which nobody listens; somebody else might take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return False
