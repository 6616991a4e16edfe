"""A nursery as a child process, and its children as their caller sees them. For a single event loop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

from fovea.nursery import frames
from fovea.nursery.frames import PREFIX, Header
from fovea.nursery.limits import ChildLimits
from fovea.nursery.server import STATUS

Buffer = TypeVar("Buffer", bytearray, memoryview)
Receive = Callable[[Header, int], bytearray | memoryview]
"""Checks the header of a reply and the length of its raw bytes. Returns the place of the raw bytes."""

# A single thread: no other thread holds a lock when a child is forked.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime would start a thread that sends reports to its makers
}


class ChildDied(Exception):
    """A child ended before it had replied.

    `status` is its signal, or its exit status below 0; None if the whole nursery ended.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__(f"a child ended with {status}")
        self.status = status


class Child:
    """A child of a nursery. It serves one request at a time."""

    def __init__(self, data: socket.socket, status: socket.socket, limits: ChildLimits) -> None:
        self._data = data
        self._status = status
        self._limits = limits
        data.setblocking(False)
        status.setblocking(False)

    async def ask(self, header: Header, body: bytes | memoryview, receive: Receive) -> Header:
        """The header of the child's reply. Its raw bytes are where `receive` put them.

        Raises ChildDied, and FrameInvalid for a reply that is no message. Whatever ends the call closes the
        child, and so kills it; only a complete reply leaves it ready for the next request.
        """
        try:
            async with asyncio.timeout(self._limits.patience_s):
                return await self._exchange(header, body, receive)
        except TimeoutError:
            self.close()
            raise ChildDied(signal.SIGPROF) from None
        except (EOFError, ConnectionError):
            died = ChildDied(await self._death())
            self.close()
            raise died from None
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether an idle child still waits for requests."""
        try:
            self._data.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Kill the child, if it is alive."""
        self._data.close()
        self._status.close()

    async def _exchange(self, header: Header, body: bytes | memoryview, receive: Receive) -> Header:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._data, frames.packed(header, len(body)))
        await loop.sock_sendall(self._data, body)
        header_bytes, body_bytes = frames.lengths(await self._received(bytearray(PREFIX.size)))
        reply = frames.parsed(await self._received(bytearray(header_bytes)))
        await self._received(memoryview(receive(reply, body_bytes)))
        return reply

    async def _received(self, buffer: Buffer) -> Buffer:
        """Fill the buffer. Raises EOFError."""
        loop, rest = asyncio.get_running_loop(), memoryview(buffer)
        while rest:
            count = await loop.sock_recv_into(self._data, rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return buffer

    async def _death(self) -> int | None:
        """The nursery writes it when it has reaped the child, and ends the socket."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            async with asyncio.timeout(self._limits.patience_s):
                status = await loop.sock_recv(self._status, STATUS.size)
                return int(STATUS.unpack(status)[0]) if status else None
        return None


class NurseryProcess:
    """Runs `python -m module FD SETTINGS LIMITS` while it has children to start, anew if it has died."""

    def __init__(self, module: str, settings: Mapping[str, Any], limits: ChildLimits) -> None:
        self._command = (sys.executable, "-m", module)
        self._settings = json.dumps(settings)
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def child(self) -> Child:
        """A new child. Loading may take seconds if there is no process yet; the child waits for it."""
        data, its_data = socket.socketpair()
        status, its_status = socket.socketpair()
        with its_data, its_status:
            fds = [its_data.fileno(), its_status.fileno()]
            try:
                socket.send_fds(self.start(), [b"c"], fds)
            except ConnectionError:  # it died meanwhile
                self.close()
                socket.send_fds(self.start(), [b"c"], fds)
        return Child(data, status, self._limits)

    def start(self) -> socket.socket:
        """Start the process unless it runs. Waits for nothing."""
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.close()
            self._control, theirs = socket.socketpair()
            with theirs:
                arguments = str(theirs.fileno()), self._settings, json.dumps(asdict(self._limits))
                self._process = subprocess.Popen(
                    [*self._command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C does not reach it, and it ends with its children
                    env=os.environ | ONE_THREAD,
                )
        return self._control

    def close(self) -> None:
        """Kill the process and its children."""
        if self._control is not None and self._process is not None:
            self._control.close()
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)  # and its children
            self._process.wait()
        self._control = self._process = None
