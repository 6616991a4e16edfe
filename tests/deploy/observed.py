"""Two encoders, a decoder and a gateway with the stand-in, watched by a real Prometheus, and callers of theirs."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.services import START_S, Services, free_address, started
from fovea.cli.children import Child, Launch
from fovea.cli.readiness import answers_http, wait_until_ready
from fovea.cli.samples import Sample, load
from fovea.cli.serve import launch_gateway
from fovea.client import Client, Sampling
from fovea.contract.errors import FoveaError
from fovea.server.tokens import checked_identity, entry, new_token
from standin import model_dir
from tests.deploy import prometheus
from tests.deploy.prometheus import Prometheus
from tests.e2e.pictures import picture
from tests.page.site import TARIFF

ROLES = {"acme": "user", "globex": "user"}
NAME = ("--served-model-name", "fovea-standin")
TIERS = """
[[tier]]
name = "cache"
kind = "exact"
max_bytes = "8 MiB"

[[tier]]
name = "large"
kind = "model"
"""
SAMPLED = Sampling(max_new_tokens=16, temperature=0.5)
"""Sampled answers are not kept by the tier of exact answers, so the engine gets the same questions again."""


@dataclass
class Observed:
    """Where everything is. `encoders` are the processes, to be ended by a test."""

    prometheus: Prometheus
    services: Services
    encoders: list[Child]
    decoder: str
    gateway: str
    tokens: dict[str, str]
    rounds: int = 0

    def ask(self) -> None:
        """A round of what callers do: known and new pictures, a repeated question, HTTP; refusals, a cancel."""
        self.rounds += 1
        samples = load()
        for tenant in self.tokens:
            client = Client(self.decoder, self.tokens[tenant])
            for sample in samples:
                for asked in sample.questions[:1]:
                    client.ask(asked.question, [sample.path], sampling=SAMPLED)
            client.ask(samples[0].questions[0].question, [samples[0].path])
            client.ask(
                "What is shown?",
                [picture(640, 480, seed=100 * self.rounds + len(tenant))],
                sampling=Sampling(max_new_tokens=12),
                max_pixels=65_536,
            )
            with suppress(FoveaError):
                client.ask("?", [b"no picture"])
            with suppress(FoveaError):
                client.ask("?", ["sha256:" + "0" * 64])
            events = client.stream("Tell me more.", [samples[0].path], sampling=Sampling(max_new_tokens=64))
            next(events)
            events.close()
            self._over_http(self.tokens[tenant], samples[0])

    def _over_http(self, token: str, sample: Sample) -> None:
        body = {
            "model": "fovea-standin",
            "messages": [{"role": "user", "content": sample.questions[0].question}],
            "max_tokens": 4,
        }
        for path in ("/v1/chat/completions", "/v1/nothing"):
            asked = urllib.request.Request(
                f"http://{self.gateway}{path}",
                json.dumps(body).encode(),
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(asked, timeout=60) as answer:
                answer.read()


def _launch(package: str, name: str, *flags: str) -> tuple[Launch, str]:
    """How to start a service, and where its metrics are."""
    address, metrics = free_address(), free_address()
    given = ["--model", str(model_dir()), *NAME, "--listen", address, "--metrics-listen", metrics, "--log-level", "warning",
             "--device", "cpu", "--threads", "1", *flags]  # fmt: skip
    return Launch(name, package, address, given), metrics


def _tokens(file: Path) -> dict[str, str]:
    tokens = {tenant: new_token() for tenant in ROLES}
    file.write_text(
        "\n".join(entry(tokens[tenant], checked_identity(tenant, role, "")) for tenant, role in ROLES.items())
    )
    return tokens


@contextmanager
def observed(folder: Path) -> Iterator[Observed]:
    """Everything, ready; leaving the block ends it."""
    tokens = _tokens(folder / "tokens.toml")
    encoders = [
        _launch("encoder_svc", name, "--name", name, "--cache-dir", str(folder / name)) for name in ("a", "b")
    ]
    addresses = ",".join(launch.address for launch, _ in encoders)
    (folder / "tiers.toml").write_text(TIERS)
    flags = ("--encoders", addresses, "--ledger-dir", str(folder / "ledger"), "--tokens", str(folder / "tokens.toml"),
             "--tiers", str(folder / "tiers.toml"), "--row-cache-bytes", str(2**25), "--kv-tokens", "16384",
             "--insecure", "true", *TARIFF)  # fmt: skip
    decoder, decoder_metrics = _launch("decoder_svc", "decoder", *flags)
    with started([*(launch for launch, _ in encoders), decoder]) as services:
        gateway, gateway_metrics = _gateway(services, decoder.address)
        targets = {
            "fovea-encoder": [metrics for _, metrics in encoders],
            "fovea-decoder": [decoder_metrics],
            "fovea-gateway": [gateway_metrics],
        }
        with prometheus.running(folder, free_address(), targets) as watching:
            yield Observed(watching, services, list(services.running[:2]), decoder.address, gateway, tokens)


def _gateway(services: Services, decoder: str) -> tuple[str, str]:
    address, metrics = free_address(), free_address()
    launch = launch_gateway(address, decoder)
    flags = [*launch.flags, "--metrics-listen", metrics, "--log-level", "warning"]
    child = services.children.start(Launch(launch.name, launch.module, launch.address, flags))
    wait_until_ready(
        services.children, [child], START_S, lambda child, seconds: None, threading.Event().wait, answers_http
    )
    return address, metrics
