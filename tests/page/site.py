"""A gateway with its page, over an encoder and a decoder with the stand-in, tokens and a tariff."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.services import free_address, pair, started
from fovea.client import Client
from fovea.server.tokens import checked_identity, entry, new_token
from standin import model_dir
from tests.page import history

START_S = 120.0
TARIFF = (
    "--price-currency", "EUR", "--price-per-million-text-tokens", "0.5", "--price-per-million-visual-tokens", "0.5",
    "--price-per-million-output-tokens", "2", "--price-per-million-patches", "0.05",
)  # fmt: skip
ROLES = {"acme": "user", "globex": "user", "empty": "user", "ops": "operator"}


@dataclass(frozen=True)
class Site:
    """Where the page is, and the tokens of its tenants."""

    url: str
    decoder: str
    tokens: dict[str, str]

    def client(self, tenant: str = "acme") -> Client:
        return Client(self.decoder, self.tokens[tenant])


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    """The whole site; leaving the block ends it."""
    tokens = {tenant: new_token() for tenant in ROLES}
    file = folder / "tokens.toml"
    file.write_text(
        "\n".join(entry(tokens[tenant], checked_identity(tenant, role, "")) for tenant, role in ROLES.items())
    )
    history.write(folder / "ledger")
    _, decoder = launched = pair(model_dir(), folder, decoder_flags=["--tokens", str(file), *TARIFF])
    with started(launched), _gateway(decoder.address, folder) as url:
        yield Site(url, decoder.address, tokens)


@contextmanager
def _gateway(decoder: str, folder: Path) -> Iterator[str]:
    address = free_address()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOVEA_")}
    flags = ["--listen", address, "--decoder", decoder, "--metrics-listen", ""]
    with (folder / "gateway.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "gateway_svc", *flags], stdout=log, stderr=log, env=environ
        )
    url = f"http://{address}"
    try:
        _wait(child, url, folder / "gateway.log")
        yield url
    finally:
        child.terminate()
        child.wait(60)


def _wait(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the gateway is not ready: {log.read_text()[-2000:]}")
