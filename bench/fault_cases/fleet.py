"""Encoders and decoders that a case kills, freezes and restarts, each at its own address on its own store."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from bench.runner import Run
from bench.services import ONE_THREAD, Services, free_address
from fovea.cli.children import Child, Launch
from fovea.cli.readiness import is_ready
from standin import model_dir

READY_S = 120.0
POLL_S = 0.05
STORE = ("--cache-bytes", str(512 << 20), "--uploads-bytes", str(256 << 20))
ENCODER_UP = "fovea_decoder_encoder_up"


class Member:
    """A service of a fleet. `child` is its current process."""

    def __init__(self, services: Services, launch: Launch, child: Child, metrics: str) -> None:
        self.launch, self.child = launch, child
        self._services, self._metrics = services, metrics

    @property
    def address(self) -> str:
        return self.launch.address

    def kill(self) -> None:
        self.child.kill()

    def freeze(self) -> None:
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """SIGTERM, unless it is dead already; start it again and wait until it is ready."""
        restart = self._services.children.restart
        self.child = await asyncio.to_thread(restart, self.child, self.launch)
        await self.ready()

    async def ready(self) -> None:
        """Wait until it reports SERVING. Raises ServiceDied or TimeoutError."""
        async with asyncio.timeout(READY_S):
            while not await asyncio.to_thread(is_ready, self.address):
                self.child.check()
                await asyncio.sleep(POLL_S)

    async def encoder_up(self, encoder: Member) -> bool:
        """Whether this decoder calls the encoder, by the metric of its breaker."""
        return bool((await asyncio.to_thread(self._gauges, ENCODER_UP)).get(encoder.address))

    def _gauges(self, name: str) -> dict[str, float]:
        """The samples of a metric by their only label."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=10) as page:
            families = text_string_to_metric_families(page.read().decode())
            samples = [sample for family in families if family.name == name for sample in family.samples]
        return {next(iter(sample.labels.values()), ""): sample.value for sample in samples}


@dataclass(frozen=True)
class Fleet:
    """Running services. Every decoder knows every encoder."""

    encoders: Sequence[Member]
    decoders: Sequence[Member]

    @property
    def members(self) -> Sequence[Member]:
        return (*self.encoders, *self.decoders)


def start(
    run: Run, encoders: int, decoders: int, decoder_flags: Sequence[str] = (), folder: str = "fleet"
) -> Fleet:
    """A fleet that is ready, with its stores in `folder`. It ends with the bench."""
    stores = run.folder / folder
    launched = [_encoder(number, str(stores / str(number))) for number in range(encoders)]
    addresses = ",".join(launch.address for launch in launched)
    metrics = [free_address() for _ in range(decoders)]
    launched += [_decoder(number, addresses, page, decoder_flags) for number, page in enumerate(metrics)]
    services = run.start(*launched)
    pages = [""] * encoders + metrics
    members = [
        Member(services, launch, child, page)
        for launch, child, page in zip(launched, services.running, pages, strict=True)
    ]
    return Fleet(members[:encoders], members[encoders:])


def _encoder(number: int, store: str) -> Launch:
    name = f"encoder-{number}"
    address = free_address()
    own = ("--cache-dir", store, "--name", name, "--listen", address, *STORE)
    return Launch(name, "encoder_svc", address, [*_common(metrics=""), *own])


def _decoder(number: int, encoders: str, metrics: str, flags: Sequence[str]) -> Launch:
    address = free_address()
    own = ("--encoders", encoders, "--listen", address, *flags)
    return Launch(f"decoder-{number}", "decoder_svc", address, [*_common(metrics), *own])


def _common(metrics: str) -> tuple[str, ...]:
    model = ("--model", str(model_dir()), "--served-model-name", "fovea-standin", *ONE_THREAD)
    return (*model, "--metrics-listen", metrics, "--log-level", "warning")
