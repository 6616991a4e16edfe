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
from dataclasses import dataclass, replace
from pathlib import Path

from fovea.cli.children import Child, Children, Launch
from fovea.cli.readiness import wait_until_ready
from fovea.cli.serve import launches
from fovea.contract.errors import FoveaError

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

    def restarted(self, launched: Sequence[Launch]) -> Services:
        """All stopped, the last started first, and only then started again; what is on disk stays."""
        for child in reversed(self.running):
            child.stop()
        fresh = zip(self.running, launched, strict=True)
        return Services(self.children, [self.children.restart(child, launch) for child, launch in fresh])


@contextmanager
def started(launched: Sequence[Launch], cores: Sequence[int] = ()) -> Iterator[Services]:
    """Start services together; leaving stops them. The logs of a run that fails go to stderr.

    With `cores`, one a service, each has that core alone, with all its threads.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOVEA_")}
    with Children(environ, lambda name, line: None) as children:
        try:
            yield Services(children, [*_start(children, launched, cores)])
        except FoveaError:
            for name, line in children.tail(_LAST_LINES):
                print(f"{name} | {line}", file=sys.stderr)
            raise


def pair(
    model: Path,
    folder: Path,
    flags: Sequence[str] = (),
    encoder_flags: Sequence[str] = (),
    decoder_flags: Sequence[str] = (),
) -> tuple[Launch, Launch]:
    """How to start an encoder, caching in `folder`, and the decoder that asks it; `flags` go to both."""
    common = [*_QUIET, *flags]
    cache = ("--cache-dir", str(folder))
    return launches(
        model,
        free_address(),
        free_address(),
        [*cache, *common, *encoder_flags],
        [*common, *decoder_flags],
    )


def asking(encoder: Launch, decoder: Launch) -> Launch:
    """The same decoder, asking that encoder: of a flag that is given twice the last counts."""
    return replace(decoder, flags=[*decoder.flags, "--encoders", encoder.address])


def encoder(model: Path, folder: Path, flags: Sequence[str] = ()) -> Launch:
    """How to start an encoder alone."""
    return pair(model, folder, encoder_flags=flags)[0]


def _start(children: Children, launched: Sequence[Launch], cores: Sequence[int]) -> Iterator[Child]:
    """A process inherits the cores of the thread that starts it, so they are lent to this one meanwhile."""
    own = os.sched_getaffinity(0)
    places = [{core} for core in cores] or [own] * len(launched)
    try:
        for launch, place in zip(launched, places, strict=True):
            os.sched_setaffinity(0, place)
            yield children.start(launch)
    finally:
        os.sched_setaffinity(0, own)


def free_address() -> str:
    """An address on which nobody listens; somebody else might take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return False
