"""What a cluster does with the pods of an overlay: it starts and replaces them, and tells others where they are.

Every pod gets another address. Endpoints and DNS follow with a delay, as in a cluster: whoever asks may still get
the address of a pod that is going, and not yet that of a pod that is ready.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.deploy.kubernetes.dns import DnsServer
from tests.deploy.kubernetes.manifests import Document, Overlay, Workload
from tests.deploy.kubernetes.pod import Pod

DOMAIN = "fovea.svc.cluster.local"
SEARCH = f"{DOMAIN} svc.cluster.local cluster.local"
DELAY_S = 1.5
POLL_S = 0.1
NETWORK = f"127.{64 + os.getpid() % 128}"
"""Loopback addresses that other runs on this machine do not use."""
Addresses = Mapping[str, tuple[str, ...]]


class Cluster:
    """`models` is the folder that stands for the volume of the checkpoints; `replicas` overrides the manifests'."""

    dns = f"{NETWORK}.0.53"

    def __init__(self, overlay: Overlay, folder: Path, models: Path, replicas: int | None = None) -> None:
        self.overlay = overlay
        self.pods: list[Pod] = []
        self.ended: list[Pod] = []
        self._folder, self._models, self._replicas = folder, models, replicas
        self._started = 0
        self._seen: deque[tuple[float, Addresses]] = deque([(0.0, {})])
        self._server = DnsServer(self._lookup)
        self._watching: asyncio.Task[None] | None = None
        self._resolver = folder / "resolv.conf"

    async def __aenter__(self) -> Self:
        self._resolver.write_text(f"nameserver {self.dns}\nsearch {SEARCH}\noptions ndots:5 timeout:2\n")
        for name, keys in self.overlay.secrets.items():
            (self._folder / name).mkdir()
            for key, text in keys.items():
                (self._folder / name / key).write_text(text)
        await self._server.start(self.dns)
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for pod in self.pods:
            pod.kill()
        for pod in self.pods:
            with suppress(TimeoutError):
                assert pod.process is not None
                await asyncio.wait_for(pod.process.wait(), 30)
        if self._watching is not None:
            self._watching.cancel()
        self._server.close()

    @property
    def faults(self) -> dict[str, str]:
        """Why a kubelet would have killed pods, with the end of their logs."""
        every = (*self.pods, *self.ended)
        return {pod.name: f"{pod.fault}\n{pod.log.read_text()[-2000:]}" for pod in every if pod.fault}

    def pods_of(self, name: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.workload.name == name]

    def endpoints(self, service: str) -> tuple[str, ...]:
        """The addresses of a Service, as the cluster knows them now."""
        return self._known.get(f"{service}.{DOMAIN}", ())

    async def start(self) -> None:
        """Start every pod, and wait until all are ready and known."""
        for workload in self.overlay.workloads.values():
            for _ in range(self._wanted(workload)):
                await self._start(workload)
        await self._until_ready(self.pods)
        await asyncio.sleep(DELAY_S + POLL_S)

    async def roll(self, name: str) -> None:
        """Replace every pod of a workload, in the order and within the bounds of its update strategy."""
        workload = self.overlay.workloads[name]
        if workload.document["kind"] == "StatefulSet":
            await self._roll_by_name(workload)
        else:
            await self._roll_by_number(workload)

    async def terminate(self) -> None:
        """End every pod."""
        await asyncio.gather(*map(self._end, list(self.pods)))

    async def _roll_by_name(self, workload: Workload) -> None:
        for pod in reversed(self.pods_of(workload.name)):
            await self._end(pod)
            await self._until_available([await self._start(workload, pod.name)])

    async def _roll_by_number(self, workload: Workload) -> None:
        bounds, wanted = workload.spec["strategy"]["rollingUpdate"], self._wanted(workload)
        old, new, ending = self.pods_of(workload.name), list[Pod](), list[asyncio.Task[None]]()
        while old or not all(pod.available for pod in new):
            self._check()
            if len(new) < wanted and len(old) + len(new) < wanted + bounds["maxSurge"]:
                new.append(await self._start(workload))
            if old and sum(pod.available for pod in (*old, *new)) > wanted - bounds["maxUnavailable"]:
                ending.append(asyncio.create_task(self._end(old.pop(0))))
            await asyncio.sleep(POLL_S)
        await asyncio.gather(*ending)

    def _wanted(self, workload: Workload) -> int:
        return self._replicas or int(workload.spec["replicas"])

    async def _start(self, workload: Workload, name: str = "") -> Pod:
        self._started += 1
        by_name = workload.document["kind"] == "StatefulSet"
        number = len(self.pods_of(workload.name)) if by_name else self._started
        name = name or f"{workload.name}-{number}"
        folders = {mount: self._volume(volume, name) for mount, volume in workload.mounts.items()}
        pod = Pod(
            workload,
            name,
            f"{NETWORK}.1.{self._started}",
            folders,
            self._resolver,
            self._folder / f"{name}.log",
        )
        self.pods.append(pod)
        await pod.start()
        return pod

    def _volume(self, volume: Document, pod: str) -> Path:
        """A claim of its own is found again by the pod's name, an emptyDir is new."""
        if "secret" in volume:
            return self._folder / volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            return self._models
        name = volume.get("name") or volume["metadata"]["name"]
        number = f"-{self._started}" if "emptyDir" in volume else ""
        folder = self._folder / f"{pod}-{name}{number}"
        folder.mkdir(exist_ok=True)
        return folder

    async def _end(self, pod: Pod) -> None:
        await pod.terminate()
        self.pods.remove(pod)
        self.ended.append(pod)

    async def _until_ready(self, pods: Iterable[Pod]) -> None:
        while not all(pod.ready for pod in pods):
            self._check()
            await asyncio.sleep(POLL_S)

    async def _until_available(self, pods: Iterable[Pod]) -> None:
        while not all(pod.available for pod in pods):
            self._check()
            await asyncio.sleep(POLL_S)

    def _check(self) -> None:
        assert not self.faults

    async def _watch(self) -> None:
        """Notes the addresses of every name, and forgets what is older than the delay."""
        while True:
            self._seen.append((time.monotonic(), dict(self._addresses())))
            while len(self._seen) > 1 and self._seen[1][0] <= time.monotonic() - DELAY_S:
                self._seen.popleft()
            await asyncio.sleep(POLL_S)

    @property
    def _known(self) -> Addresses:
        return self._seen[0][1]

    def _addresses(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Of every Service, and of the pods that a StatefulSet names."""
        for service, document in self.overlay.of_kind("Service").items():
            selector, always = document["spec"]["selector"], document["spec"].get("publishNotReadyAddresses")
            pods = [
                pod
                for pod in self.pods
                if selector.items() <= pod.workload.labels.items() and (always or pod.ready)
            ]
            if pods:
                yield f"{service}.{DOMAIN}", tuple(pod.address for pod in pods)
            for pod in pods:
                if pod.workload.spec.get("serviceName") == service:
                    yield f"{pod.name}.{service}.{DOMAIN}", (pod.address,)

    def _lookup(self, name: str) -> tuple[str, ...] | None:
        return self._known.get(name)
