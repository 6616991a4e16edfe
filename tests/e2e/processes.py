"""The services as processes of their own, for what only a process can show: restart, SIGKILL, SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

START_S = 180.0


@dataclass
class Process:
    """`python -m PACKAGE` with these flags. Its log goes to a file; nothing is inherited from our environment
    that the settings would read. `source` is a folder of another version of the packages, run instead of ours.
    """

    package: str
    address: str
    flags: tuple[str, ...]
    log: Path
    source: Path | None = None
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FOVEA_")}
        command = [sys.executable, "-m", self.package, "--listen", self.address, *self.flags]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=self.source)

    @property
    def child(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError("not started")
        return self._child

    async def until_ready(self) -> None:
        async with asyncio.timeout(START_S):
            while not await self._is_ready():
                if self.child.poll() is not None:
                    raise RuntimeError(f"{self.package} ended: {self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.1)

    async def _is_ready(self) -> bool:
        async with grpc.aio.insecure_channel(self.address) as channel:
            request = health_pb2.HealthCheckRequest(service="readiness")
            try:
                reply = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
            except grpc.aio.AioRpcError:
                return False
            return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def signal(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, once it has exited."""
        return await asyncio.to_thread(self.child.wait, 60)

    def end(self) -> None:
        """Ends the process after a test, whatever happened."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(10)


def encoder_process(model: Path, folder: Path, address: str) -> Process:
    flags = ("--model", model, "--cache-dir", folder / "store", "--metrics-listen", "", "--row-dtype", "fp32",
             "--dtype", "fp32", "--device", "cpu", "--threads", "1", "--cache-bytes", 256 << 20,
             "--uploads-bytes", 128 << 20)  # fmt: skip
    return Process("encoder_svc", address, tuple(map(str, flags)), folder / "encoder.log")


def decoder_process(model: Path, folder: Path, address: str, encoder: str) -> Process:
    flags = ("--model", model, "--encoders", encoder, "--ledger-dir", folder / "ledger", "--metrics-listen", "", "--dtype", "fp32",
             "--device", "cpu", "--threads", "1", "--kv-tokens", 8192, "--grace-s", "60",
             "--prefix-cache", "false", "--ready-without-encoders", "true")  # fmt: skip
    return Process("decoder_svc", address, tuple(map(str, flags)), folder / "decoder.log")
