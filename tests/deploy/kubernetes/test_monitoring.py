"""Prometheus knows the pods by the names that alerts and scalers ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes import readme, schemas
from tests.deploy.kubernetes.manifests import ROOT, Document, Overlay
from tests.deploy.prometheus import FOLDER as OBSERVABILITY
from tests.deploy.test_rules import RULES

pytestmark = pytest.mark.clients


def scraped(overlay: Overlay) -> list[Document]:
    """The Services that the ServiceMonitor selects, and that have its port."""
    (monitor,) = overlay.of_kind("ServiceMonitor").values()
    spec: dict[str, Any] = monitor["spec"]
    (endpoint,) = spec["endpoints"]
    return [
        service
        for service in overlay.of_kind("Service").values()
        if spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    ]


def jobs(overlay: Overlay) -> list[str]:
    """As the operator names them: by a label of the Service, or by its name where it lacks the label."""
    (monitor,) = overlay.of_kind("ServiceMonitor").values()
    label = monitor["spec"].get("jobLabel")
    metadata = [service["metadata"] for service in scraped(overlay)]
    return sorted(each["labels"].get(label, each["name"]) for each in metadata)


def test_each_workload_is_scraped_once_under_the_name_of_its_job(built: Callable[[str], Overlay]) -> None:
    """The same names as without Kubernetes."""
    configured = yaml.safe_load((OBSERVABILITY / "prometheus.yaml").read_text())["scrape_configs"]
    overlay = built("many")
    assert jobs(overlay) == sorted(job["job_name"] for job in configured) == sorted(overlay.workloads)


def test_alerts_that_ask_for_jobs_find_all_of_them(built: Callable[[str], Overlay]) -> None:
    patterns = [pattern for rule in RULES for pattern in re.findall(r'job=~"([^"]*)"', rule["expr"])]
    assert len(patterns) == sum("job" in rule["expr"] for rule in RULES) > 0
    for pattern in patterns:
        assert all(re.fullmatch(pattern, job) for job in jobs(built("many")))


def test_each_service_scales_on_a_gauge_of_its_own(built: Callable[[str], Overlay]) -> None:
    """Running services show that the gauges exist: test_rollout.py."""
    overlay = built("many")
    scalers = overlay.of_kind("ScaledObject")
    assert scalers.keys() == overlay.workloads.keys()
    for name, scaler in scalers.items():
        target, workload = scaler["spec"]["scaleTargetRef"], overlay.workloads[name]
        assert (target["kind"], target["name"]) == (workload.document["kind"], name)
        assert "replicas" not in workload.spec, "an apply would set back what the scaler chose"
        for trigger in scaler["spec"]["triggers"]:
            query = trigger["metadata"]["query"]
            gauges = re.findall(r"fovea_\w+", query)
            assert gauges
            assert all(gauge.startswith(name.replace("-", "_")) for gauge in gauges)
            namespaces = re.findall(r'namespace="(\w+)"', query)
            assert namespaces == [workload.document["metadata"]["namespace"]] * len(gauges)


def test_the_command_of_the_readme_makes_a_rule_of_the_published_schema() -> None:
    rule = yaml.safe_load(readme.run(readme.block("PrometheusRule"), "cat", ROOT))
    schemas.check(rule)
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == yaml.safe_load((OBSERVABILITY / "rules.yaml").read_text())
    rule["spec"]["groups"][0]["rules"][0]["exp"] = "1"
    with pytest.raises(schemas.Invalid, match="PrometheusRule"):
        schemas.check(rule)
