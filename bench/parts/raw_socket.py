"""The other side of a raw loopback socket: sends the same bytes for every byte it receives.

    python -m bench.parts.raw_socket BYTES

Prints its port and serves every connection on a thread of its own, until it is stopped. No framing and no
checks: the best that the machine's loopback can do with a process on each side.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.host import ROOT


def serve(count: int) -> None:
    data = os.urandom(count)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_send, args=(connection, data), daemon=True).start()


def _send(connection: socket.socket, data: bytes) -> None:
    with connection:
        while connection.recv(1):
            connection.sendall(data)


@contextmanager
def peers(count: int, connections: int) -> Iterator[list[socket.socket]]:
    """Connections to another process, which sends `count` bytes for every byte it receives."""
    command = [sys.executable, "-m", "bench.parts.raw_socket", str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process, ExitStack() as stack:
        stack.callback(process.terminate)
        port = int(process.stdout.readline()) if process.stdout else 0
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]


def receive(connection: socket.socket, into: memoryview) -> None:
    """Send a byte and fill `into`."""
    connection.sendall(b"\0")
    at = 0
    while at < len(into):
        got = connection.recv_into(into[at:])
        if got == 0:
            raise ConnectionError("the raw socket was closed early")
        at += got


if __name__ == "__main__":
    serve(int(sys.argv[1]))
