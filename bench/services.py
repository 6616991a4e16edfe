"""The services under measurement: processes of their own on free ports, each with its own cache.

They are configured by flags alone: the caller's `FOVEA_` variables are removed, so that a result never
depends on the environment. Starting, waiting and stopping are those of `fovea serve`.
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
from fovea.contract.errors import FoveaError

START_S = 300.0
_LAST_LINES = 15
NO_ROW_STORE = ("--cache-bytes", "0")
"""Of the encoder: every request runs the tower, unless it shares a running computation."""
NO_DECODER_CACHES = ("--prefix-cache", "false", "--row-cache-bytes", "0")
NO_OVERLAP = ("--overlap", "false")
"""Of the decoder: fetch the rows of all images in sequence, then prefill."""
ONE_THREAD = ("--threads", "1")
_QUIET = ("--metrics-listen", "", "--log-level", "warning")


@dataclass(frozen=True)
class Services:
    """A group of running services."""

    children: Children
    running: Sequence[Child]

    def ready(self) -> None:
        """Wait until all of them serve. Raises ServiceDied or NotReadyInTime."""
        wait_until_ready(self.children, self.running, START_S, lambda child, seconds: None, _pause)

    def restarted(self, launched: Sequence[Launch]) -> Services:
        """Stop the services in reverse order and start them again. Their stores stay on disk."""
        for child in reversed(self.running):
            child.stop()
        pairs = zip(self.running, launched, strict=True)
        fresh = Services(self.children, [self.children.restart(child, launch) for child, launch in pairs])
        fresh.ready()
        return fresh


@contextmanager
def started(launched: Sequence[Launch], cores: Sequence[int] = ()) -> Iterator[Services]:
    """Start services and wait until they are ready; leaving stops them. A failure prints their logs.

    `cores` pins each service, with all its threads, to a core.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOVEA_")}
    with Children(environ, lambda name, line: None) as children:
        try:
            services = Services(children, [*start_pinned(children, launched, cores)])
            services.ready()
            yield services
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
    encoder: str | None = None,
) -> tuple[Launch, Launch]:
    """How to start an encoder with its store in `folder` and a decoder that uses it; `flags` go to both.

    `encoder` is the encoder's address; None picks one.
    """
    common = [*_QUIET, *flags]
    cache, ledger = ("--cache-dir", str(folder)), ("--ledger-dir", str(folder / "ledger"))
    return launches(
        model,
        encoder or free_address(),
        free_address(),
        [*cache, *common, *encoder_flags],
        [*ledger, *common, *decoder_flags],
    )


def start_pinned(children: Children, launched: Sequence[Launch], cores: Sequence[int]) -> Iterator[Child]:
    """A child inherits the affinity of the thread that starts it, so this thread adopts it temporarily."""
    own = os.sched_getaffinity(0)
    affinities = [{core} for core in cores] or [own] * len(launched)
    try:
        for launch, affinity in zip(launched, affinities, strict=True):
            os.sched_setaffinity(0, affinity)
            yield children.start(launch)
    finally:
        os.sched_setaffinity(0, own)


def free_address() -> str:
    """An address without a listener; another process might take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return False
