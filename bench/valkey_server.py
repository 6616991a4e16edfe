"""A Valkey or Redis server of our own on a loopback port, which keeps nothing on disk; and a cluster of them.

The program is Debian's package `redis-server`, or Valkey's own.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from valkey import Valkey
from valkey.exceptions import ConnectionError as ConnectionLost

START_S = 30.0
PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
HOST = "127.0.0.1"
SLOTS = 16_384
BOUNDED = ("--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru")
CLUSTERED = (
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    "--cluster-require-full-coverage",
    "no",
)


def is_installed() -> bool:
    return PROGRAM is not None


class ValkeyServer:
    """Not started. It has the same port each time; `options` are those of the program."""

    def __init__(self, *options: str) -> None:
        self.port = _free_port()
        self._options = options or BOUNDED
        self._folder = Path(tempfile.mkdtemp(prefix="fovea-valkey-"))
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"valkey://{HOST}:{self.port}"

    @property
    def version(self) -> str:
        """Of a running server."""
        with self.client() as client:
            return str(client.info("server")["redis_version"])

    def start(self) -> None:
        """Returns once it answers."""
        command = [str(PROGRAM), "--port", str(self.port), "--bind", HOST, "--dir", str(self._folder),
                   "--save", "", "--appendonly", "no", *self._options]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def client(self) -> Valkey:
        """A plain client, to look at what the server holds."""
        return Valkey(host=HOST, port=self.port)

    def kill(self) -> None:
        """At once, as a crash would: what it held is lost."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(START_S)
            self._child = None

    def freeze(self) -> None:
        """Stop it without ending it: connections stay open, and it does not answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except ConnectionLost:
            return False


class ClusterNode(ValkeyServer):
    """A node that has not joined a cluster."""

    def __init__(self) -> None:
        self.bus_port = _free_port()
        super().__init__(*BOUNDED, *CLUSTERED, "--cluster-port", str(self.bus_port))


@contextmanager
def cluster(size: int = 3) -> Iterator[Sequence[ClusterNode]]:
    """The nodes of a running cluster without replicas; each has an equal share of the slots."""
    nodes = [ClusterNode() for _ in range(size)]
    try:
        for node in nodes:
            node.start()
        _join(nodes)
        yield nodes
    finally:
        for node in nodes:
            node.remove()


def _join(nodes: Sequence[ClusterNode]) -> None:
    first = nodes[0]
    for number, node in enumerate(nodes):
        start, end = SLOTS * number // len(nodes), SLOTS * (number + 1) // len(nodes) - 1
        with node.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", start, end)
            client.execute_command("CLUSTER MEET", HOST, first.port, first.bus_port)
    until = time.monotonic() + START_S
    while not all(_sees(node, len(nodes)) for node in nodes):
        if time.monotonic() > until:
            raise RuntimeError("the nodes did not form a cluster")
        time.sleep(0.05)


def _sees(node: ValkeyServer, size: int) -> bool:
    """Whether the node knows who serves every slot."""
    with node.client() as client:
        slots = client.execute_command("CLUSTER SLOTS")
        state = client.execute_command("CLUSTER INFO")
    ok = state["cluster_state"] == "ok" if isinstance(state, dict) else b"cluster_state:ok" in state
    return ok and len(slots) == size


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
