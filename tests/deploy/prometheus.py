"""A real Prometheus with our rules, of Debian's package `prometheus`, and its HTTP API."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.compose import ROOT

FOLDER = ROOT / "deploy/observability"
START_S = 60.0
INTERVAL_S = 1


def is_installed() -> bool:
    return bool(shutil.which("prometheus") and shutil.which("promtool"))


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, text=True, capture_output=True, check=False, timeout=300
    )


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def get(self, path: str, **parameters: object) -> Any:
        """The data of an answer. Raises ValueError with Prometheus's message if it refuses."""
        question = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{question}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise ValueError(f"{parameters}: {refused.read().decode()}") from None

    def series(self, expression: str) -> list[dict[str, Any]]:
        """The result of a query as of now; a scalar is a series without labels."""
        data = self.get("query", query=expression)
        result = data["result"]
        return [{"metric": {}, "value": result}] if data["resultType"] == "scalar" else list(result)

    def until(self, expression: str, count: int = 1) -> None:
        """Wait until a query has this many series."""
        end = time.monotonic() + START_S
        while len(self.series(expression)) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} has {len(self.series(expression))} series, not {count}")
            time.sleep(0.2)


@contextmanager
def running(folder: Path, address: str, targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """Prometheus on `address` with our rules; `targets` are addresses to scrape, by the name of their job."""
    config = {
        "global": {"scrape_interval": f"{INTERVAL_S}s", "evaluation_interval": f"{INTERVAL_S}s"},
        "rule_files": [str(FOLDER / "rules.yaml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(hosts)}]} for job, hosts in targets.items()
        ],
    }
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    flags = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address={address}", "--log.level=warn"]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        child = subprocess.Popen(["prometheus", *flags], stdout=log, stderr=log)
    try:
        prometheus = Prometheus(f"http://{address}")
        _wait(child, prometheus.url, folder / "prometheus.log")
        yield prometheus
    finally:
        child.terminate()
        child.wait(60)


def _wait(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and child.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"Prometheus is not ready: {log.read_text()[-2000:]}")
