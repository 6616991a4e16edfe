"""A real Prometheus reads real services: every query of every panel and rule is answered, alerts begin, and the
page of metrics is true.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.compose import ROOT
from tests.deploy.documented import FAMILIES, documented
from tests.deploy.observed import Observed, observed
from tests.deploy.test_dashboards import panels
from tests.deploy.test_rules import BOARDS, RULES
from tools.dashboards.picture import draw, substituted

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
RANGE_S = 120.0
SHOTS_S = 120.0
EMPTY = {
    "Alerts that fire", "Calls that ended for silence of their caller", "CPU time of reading", "GPU memory", "Images read as text",
    "Reads and writes of the shared cache", "Silent errors of tiers", "Tokens saved by text for pixels",
}  # fmt: skip
"""Panels of what did not happen here."""
QUERIES = [
    (f"{name}: {panel['title']}", target["expr"])
    for name, board in BOARDS.items()
    for panel in panels(board)
    for target in panel["targets"]
]


@pytest.fixture(scope="module")
def site(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Watched services that have answered questions over several scrapes; for minutes, if pictures are wanted."""
    with observed(tmp_path_factory.mktemp("observed")) as started:
        end = time.monotonic() + (SHOTS_S if os.environ.get("DASHBOARD_SHOTS") else 8)
        while time.monotonic() < end:
            started.ask()
            time.sleep(1.5)
        started.prometheus.until("fovea:memory_used:ratio", 4)
        started.prometheus.until("fovea_gateway_http_requests_total", 2)
        yield started


def finite(series: list[dict[str, Any]]) -> list[float]:
    return [value for each in series if math.isfinite(value := float(each["value"][1]))]


def test_every_service_is_scraped(site: Observed) -> None:
    assert sorted(finite(site.prometheus.series("up"))) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("panel", "expression"), QUERIES, ids=[f"{panel} {n}" for n, (panel, _) in enumerate(QUERIES)]
)
def test_a_panel_is_answered(site: Observed, panel: str, expression: str) -> None:
    series = site.prometheus.series(substituted(expression, RANGE_S))
    assert finite(series) or panel.partition(": ")[2] in EMPTY, expression


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_is_answered(site: Observed, rule: dict[str, Any]) -> None:
    series = site.prometheus.series(rule["expr"])
    assert "alert" in rule or finite(series)


def test_prometheus_finds_no_fault_in_a_rule(site: Observed) -> None:
    groups = site.prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert {rule["health"] for rule in rules} == {"ok"}


def test_the_page_of_metrics_has_what_is_exported(site: Observed) -> None:
    """Names, types and labels, of all that the services have exported."""
    types = {name: kinds[0]["type"] for name, kinds in site.prometheus.get("metadata").items()}
    types = {f"{name}_total" if kind == "counter" else name: kind for name, kind in types.items()}
    ours = {
        name: kind
        for name, kind in types.items()
        if name.startswith("fovea_") and not name.startswith(FAMILIES)
    }
    assert ours.keys() == {name for name in documented() if not name.startswith(FAMILIES)} - {
        "fovea_build_info"
    } | (ours.keys() & {"fovea_build_info", "fovea_build"})
    for name, (kind, labels) in documented().items():
        suffix = "_bucket" if kind == "histogram" else ""
        found = site.prometheus.get("series", **{"match[]": f"{name}{suffix}"})
        exported = {label for series in found for label in series} - {"__name__", "instance", "job", "le"}
        assert exported <= labels, name
        assert exported in (set(), set(labels)), name
        assert ours.get(name, kind) == kind, name


def test_tenants_tokens_and_money_agree_with_the_ledger(site: Observed) -> None:
    tokens = site.prometheus.series("sum by (tenant) (fovea_decoder_prompt_tokens_total)")
    assert {each["metric"]["tenant"] for each in tokens} == set(site.tokens)
    assert all(
        finite(site.prometheus.series(f'fovea_decoder_price_total{{tenant="{each}"}}'))
        for each in site.tokens
    )


def test_an_encoder_that_dies_is_noticed_at_once(site: Observed) -> None:
    """The last test: the alerts are pending, because they wait for a minute."""
    if folder := os.environ.get("DASHBOARD_SHOTS"):
        for name, board in BOARDS.items():
            draw(
                board,
                site.prometheus.url,
                SHOTS_S,
                ROOT / Path(folder) / f"{name.replace('fovea', 'dashboard')}.png",
            )
    down = 'ALERTS{alertname=~"FoveaServiceDown|FoveaEncoderDown|FoveaNoEncoder"}'
    assert site.prometheus.series(down) == []
    site.encoders[1].kill()
    for alert in ("FoveaEncoderDown", "FoveaServiceDown"):
        site.prometheus.until(f'ALERTS{{alertname="{alert}"}}')
    assert json.dumps(site.prometheus.series('ALERTS{alertname="FoveaNoEncoder"}')) == "[]"
