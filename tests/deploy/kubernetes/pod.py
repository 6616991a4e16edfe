"""A pod as a process of this machine: what a kubelet does with its container, as far as a process can show it.

The command, the variables, the ports, the probes, the preStop hook and the grace period are those of the
manifest. Each pod has a loopback address of its own and the cluster's DNS, in a mount namespace of its own. Two
things differ: a mount point stands for a folder, by its path in the variables, and the user is our own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deploy.kubernetes.manifests import Document, Workload

WITH_DNS = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


@dataclass
class Pod:
    """`folders` has the folder of each mount point. `fault` is why a kubelet would have killed the container."""

    workload: Workload
    name: str
    address: str
    folders: dict[str, Path]
    resolver: Path
    log: Path
    ready_since: float | None = None
    terminating: bool = False
    fault: str = ""
    process: Process | None = None
    _probing: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return self.ready_since is not None and not self.terminating

    @property
    def available(self) -> bool:
        """Ready for `minReadySeconds`."""
        if self.ready_since is None or self.terminating:
            return False
        return time.monotonic() - self.ready_since >= self.workload.spec.get("minReadySeconds", 0)

    def here(self, value: str) -> str:
        """A variable, with this machine's address and folders."""
        value = value.replace("0.0.0.0:", f"{self.address}:")
        for mount, folder in self.folders.items():
            if value == mount or value.startswith(f"{mount}/"):
                return f"{folder}{value.removeprefix(mount)}"
        return value

    async def start(self) -> None:
        """Start the container and its probes."""
        variables = self.workload.environment(self.name)
        command = [
            sys.executable if word == "python" else word for word in self.workload.container["command"]
        ]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "unshare", "--mount", "sh", "-c", WITH_DNS, str(self.resolver), *command,
                env={name: self.here(value) for name, value in variables.items()} | {"PATH": os.environ["PATH"]},
                cwd=self.log.parent, stdout=log, stderr=log,
            )  # fmt: skip
        self._probing.append(asyncio.create_task(self._probe()))

    async def terminate(self) -> None:
        """The preStop hook, SIGTERM, and SIGKILL once the grace period is over."""
        assert self.process is not None
        ends = time.monotonic() + self.workload.pod["terminationGracePeriodSeconds"]
        self.terminating = True
        for task in self._probing:
            task.cancel()
        await asyncio.sleep(self.workload.stop_s)
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), ends - time.monotonic())
        except TimeoutError:
            self.kill("its grace period ended")
        if self.process.returncode:
            self.fault = self.fault or f"it exited with {self.process.returncode}"

    def kill(self, why: str = "") -> None:
        """End it at once."""
        self.fault = self.fault or why
        for task in self._probing:
            task.cancel()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def _probe(self) -> None:
        """Startup first, then readiness and liveness."""
        container = self.workload.container
        await self._until_started(container["startupProbe"])
        self._probing.append(asyncio.create_task(self._watch_liveness(container["livenessProbe"])))
        await self._watch_readiness(container["readinessProbe"])

    async def _until_started(self, probe: Document) -> None:
        for _ in range(_limit(probe)):
            if await self._asks(probe):
                return
            assert self.process is not None
            if self.process.returncode is not None:
                return self.kill(f"it exited with {self.process.returncode}")
            await asyncio.sleep(probe["periodSeconds"])
        self.kill("its startup probe failed")

    async def _watch_readiness(self, probe: Document) -> None:
        failures = 0
        while True:
            failures = 0 if await self._asks(probe) else failures + 1
            if not failures and self.ready_since is None:
                self.ready_since = time.monotonic()
            if failures >= _limit(probe):
                self.ready_since = None
            await asyncio.sleep(probe["periodSeconds"])

    async def _watch_liveness(self, probe: Document) -> None:
        failures = 0
        while failures < _limit(probe):
            failures = 0 if await self._asks(probe) else failures + 1
            await asyncio.sleep(probe["periodSeconds"])
        self.kill("its liveness probe failed")

    async def _asks(self, probe: Document) -> bool:
        """A probe, once. Raises KeyError for one that is neither grpc nor httpGet."""
        timeout_s = float(probe["timeoutSeconds"])
        if "grpc" in probe:
            return await _grpc_serves(
                f"{self.address}:{probe['grpc']['port']}", probe["grpc"]["service"], timeout_s
            )
        return await self._http_answers(probe["httpGet"], timeout_s)

    async def _http_answers(self, get: dict[str, Any], timeout_s: float) -> bool:
        """A kubelet does not verify certificates."""
        scheme, port = get.get("scheme", "HTTP").lower(), self.workload.port(get["port"])
        headers = {header["name"]: header["value"] for header in get.get("httpHeaders", ())}
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=timeout_s) as client:
            try:
                answer = await client.get(f"{scheme}://{self.address}:{port}{get['path']}", headers=headers)
            except httpx.HTTPError:
                return False
        return 200 <= answer.status_code < 400


def _limit(probe: Document) -> int:
    return int(probe.get("failureThreshold", 3))


async def _grpc_serves(address: str, service: str, timeout_s: float) -> bool:
    async with grpc.aio.insecure_channel(
        address, options=(("grpc.use_local_subchannel_pool", 1),)
    ) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
