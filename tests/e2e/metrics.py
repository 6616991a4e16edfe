"""Reads a service's Prometheus page."""

from __future__ import annotations

import asyncio
import urllib.request

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


async def metric_families(address: str) -> dict[str, Metric]:
    """Metrics by name, without the `_total` of counters."""

    def fetch() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as page:
            return str(page.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(fetch))
    return {family.name: family for family in families}


async def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Samples by (name, method, code); labels that a sample does not have are empty."""
    samples: dict[tuple[str, ...], float] = {}
    for family in (await metric_families(address)).values():
        for sample in family.samples:
            labels = sample.labels
            key = (sample.name, labels.get("grpc_method", ""), labels.get("grpc_code", ""))
            samples[key] = samples.get(key, 0.0) + sample.value
    return samples


def calls(samples: dict[tuple[str, ...], float], method: str, code: str = "") -> float:
    """Calls of a method that have ended, with `code` or with any."""
    return sum(
        value
        for (name, its_method, its_code), value in samples.items()
        if name == "grpc_server_handled_total" and its_method == method and code in ("", its_code)
    )


def in_flight(samples: dict[tuple[str, ...], float], method: str) -> float:
    """Calls of a method that have begun and not ended."""
    return samples.get(("grpc_server_started_total", method, ""), 0.0) - calls(samples, method)
