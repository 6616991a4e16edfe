"""The services of the compose file on this machine: as processes, or in images built without a container engine.

The file provides commands, environments and health checks. A host provides what a container engine would: an
address for each service, and a folder for each volume.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.deploy.compose import Service, services
from tests.deploy.dockerfile import command
from tests.deploy.engine import Engine, Mount
from tests.e2e.house import free_address

START_S = 1500.0


class Host:
    """Runs the services with the packages of this checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services = services()
        self.addresses = {
            (name, port): free_address() for name, service in self.services.items() for port in service.ports
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def addressed(self, service: Service, text: str) -> str:
        """An argument or a variable of a service with the addresses of this machine."""
        for (name, port), address in self.addresses.items():
            text = text.replace(f"{name}:{port}", address)
            if name == service.name:
                text = text.replace(f"0.0.0.0:{port}", address).replace(f"127.0.0.1:{port}", address)
        return text

    def popen(
        self, service: Service, words: Sequence[str], environment: Mapping[str, str], **options: Any
    ) -> subprocess.Popen[bytes]:
        variables = {name: self._placed(service, value) for name, value in environment.items()}
        command = [self._placed(service, word) for word in words]
        return subprocess.Popen(command, env=variables, cwd=self.folder, **options)

    def _placed(self, service: Service, text: str) -> str:
        for inside, volume in service.folders.items():
            text = text.replace(inside, str(self.folder / volume))
        for inside, path in service.files.items():
            text = text.replace(inside, str(path))
        return sys.executable if text == "python" else text

    def start(self, service: Service) -> None:
        environment = {name: self.addressed(service, value) for name, value in service.environment.items()}
        with (self.folder / f"{service.name}.log").open("wb") as log:
            self.running[service.name] = self.popen(
                service, command(service.target), environment, stdout=log, stderr=log
            )

    def is_healthy(self, service: Service) -> bool:
        """By the service's own health check."""
        words = [self.addressed(service, word) for word in service.health]
        return self.popen(service, words, {}, stderr=subprocess.DEVNULL).wait(timeout=120) == 0

    def until_healthy(self, service: Service) -> None:
        end = time.monotonic() + START_S
        while not self.is_healthy(service):
            log = (self.folder / f"{service.name}.log").read_text()
            assert self.running[service.name].poll() is None, log[-2000:]
            assert time.monotonic() < end, log[-2000:]
            time.sleep(2.0)

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)


class ImageHost(Host):
    """Runs each service in its image."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        super().__init__(folder)
        self.engine = engine

    def popen(
        self, service: Service, words: Sequence[str], environment: Mapping[str, str], **options: Any
    ) -> subprocess.Popen[bytes]:
        image = self.engine.build(service.target)
        return self.engine.popen(image, words, environment, self._mounts(service, image.user), **options)

    def _mounts(self, service: Service, user: int) -> list[Mount]:
        """A new volume belongs to the owner of the folder that it is mounted on."""
        mounts = [Mount(path, inside, read_only=True) for inside, path in service.files.items()]
        for inside, volume in service.folders.items():
            folder = self.folder / volume
            folder.mkdir(exist_ok=True)
            os.chown(folder, user, user)
            mounts.append(Mount(folder, inside))
        return mounts
