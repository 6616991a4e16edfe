"""The rules: promtool accepts them, its unit tests pass and cover every alert, and every alert has a runbook."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from decoder_svc.settings import DecoderSettings
from encoder_svc.settings import EncoderSettings
from fovea.contract.usage import AnomalyKind
from gateway_svc.settings import GatewaySettings
from tests.deploy.compose import ROOT
from tests.deploy.prometheus import FOLDER, promtool

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
TESTS = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))
}
PACKAGES = ("encoder_svc", "decoder_svc", "gateway_svc", "fovea")
EACH = pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS)


def sections(page: Path) -> dict[str, str]:
    """The text of each section of a page by its anchor."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {
        title.lower().replace(" ", "-"): text for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def log_events() -> set[str]:
    """The events of every log line of the services."""
    sources = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    texts = (path.read_text(encoding="utf-8") for path in sources)
    return {event for text in texts for event in re.findall(r'log\.\w+\(\s*"([^"]+)"', text)}


def fired() -> set[str]:
    """Alerts that a unit test expects."""
    asked = [each for test in TESTS["tests"] for each in test.get("promql_expr_test", ())]
    samples = [
        sample["labels"] for each in asked if "ALERTS" in each["expr"] for sample in each["exp_samples"]
    ]
    return {name for labels in samples for name in re.findall(r'alertname="(\w+)"', labels)}


@EACH
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    path, _, anchor = notes["runbook"].partition("#")
    assert anchor == alert["alert"].lower()
    text = sections(ROOT / path)[anchor]
    parts = re.split(r"^\*\*(Means|Check|Do)\.\*\* ?", text, flags=re.M)
    assert parts[1::2] == ["Means", "Check", "Do"]
    assert all(len(part.split()) > 5 for part in parts[2::2])


def test_the_runbook_has_no_other_sections_and_its_links_lead_somewhere() -> None:
    page = ROOT / "docs/runbook.md"
    assert sections(page).keys() == {name.lower() for name in ALERTS}
    for file, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", page.read_text(encoding="utf-8")):
        assert anchor in sections(page.parent / file if file else page), (file, anchor)


def test_the_runbook_names_settings_log_events_and_panels_that_there_are() -> None:
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    fields = (settings.model_fields for settings in (EncoderSettings, DecoderSettings, GatewaySettings))
    known = set(itertools.chain(*fields)) | log_events() | set(AnomalyKind)
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text))
    assert len(named) > 30
    assert sorted(named - known) == []
    titles = {panel["title"] for board in BOARDS.values() for panel in board["panels"]}
    panels = set(re.findall(r'"([A-Z][^"]+)"', text))
    assert len(panels) > 10
    assert sorted(panels - titles) == []


def test_every_alert_is_seen_to_fire_by_a_unit_test() -> None:
    assert fired() == set(ALERTS)


def test_recorded_names_tell_what_they_are_of() -> None:
    recorded = [rule["record"] for rule in RULES if "record" in rule]
    assert len(recorded) == len(set(recorded)) > 5
    assert all(re.fullmatch(r"fovea:\w+:\w+", name) for name in recorded)


def test_promtool_accepts_the_rules_and_the_configuration(installed: None) -> None:
    for arguments in (
        ("check", "rules", "--lint-fatal", "rules.yaml"),
        ("check", "config", "prometheus.yaml"),
    ):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_the_unit_tests_of_the_rules_pass(installed: None) -> None:
    done = promtool("test", "rules", "rules_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def at_once(rule: dict[str, Any]) -> dict[str, Any]:
    """The alert without its waiting time."""
    return {key: value for key, value in rule.items() if key != "for"}


def always(rule: dict[str, Any]) -> dict[str, Any]:
    """The alert as one that fires whatever happens."""
    return at_once(rule) | {"expr": "vector(1)"}


def surplus(output: str) -> set[str]:
    """Alerts that fired against the expectation of a unit test."""
    failures = re.findall(r"exp:(.*)\n\s*got:(.*)", output)
    labels = (set(re.findall(r"{.*?}", got)) - set(re.findall(r"{.*?}", exp)) for exp, got in failures)
    return set(re.findall(r'alertname="(\w+)"', str(list(labels))))


@pytest.mark.long
@pytest.mark.parametrize("change", [at_once, always])
def test_the_unit_tests_notice_each_alert_that_fires_too_soon_or_always(
    installed: None, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text())
    for group in rules["groups"]:
        group["rules"] = [change(rule) if "alert" in rule else rule for rule in group["rules"]]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(TESTS))
    done = promtool("test", "rules", str(tmp_path / "test.yaml"))
    assert done.returncode == 1
    assert surplus(done.stdout + done.stderr) == {
        name for name, rule in ALERTS.items() if change(rule) != rule
    }
