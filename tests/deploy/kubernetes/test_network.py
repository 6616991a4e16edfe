"""Who may connect to whom: the NetworkPolicies of an overlay, added up as Kubernetes does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from tests.deploy.kubernetes.manifests import NAME, Document, Overlay, Workload

pytestmark = pytest.mark.clients
PART = {"app.kubernetes.io/part-of": "fovea"}


@dataclass(frozen=True)
class Source:
    """A pod that connects: its labels, and its namespace."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "fovea"


SOURCES = {
    "encoder": Source(PART | {NAME: "fovea-encoder"}),
    "decoder": Source(PART | {NAME: "fovea-decoder"}),
    "gateway": Source(PART | {NAME: "fovea-gateway"}),
    "other": Source(PART),
    "stranger": Source(namespace="elsewhere"),
    "decoder elsewhere": Source(PART | {NAME: "fovea-decoder"}, "elsewhere"),
    "gateway elsewhere": Source(PART | {NAME: "fovea-gateway"}, "elsewhere"),
    "client": Source({"fovea.dev/decoder-client": "true"}, "elsewhere"),
    "prometheus": Source(namespace="monitoring"),
}


def matches(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a selector takes labels. An empty selector takes all."""
    assert selector.keys() <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def admits(peer: Document, source: Source) -> bool:
    """Whether a rule lets this pod in. Without a selector of namespaces, it speaks of its own."""
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    if "namespaceSelector" not in peer:
        inside = source.namespace == "fovea"
    else:
        inside = matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": source.namespace})
    return inside and matches(peer.get("podSelector", {}), source.labels)


def policies(overlay: Overlay, workload: Workload, direction: str) -> list[Document]:
    """Those that hold for the pods of a workload."""
    specs = [policy["spec"] for policy in overlay.of_kind("NetworkPolicy").values()]
    return [
        spec
        for spec in specs
        if direction in spec["policyTypes"] and matches(spec["podSelector"], workload.labels)
    ]


def open_ports(overlay: Overlay, source: Source, workload: Workload) -> set[str]:
    """The ports of a workload that a pod may connect to."""
    holding = policies(overlay, workload, "Ingress")
    if not holding:
        return {port["name"] for port in workload.container["ports"]}
    rules = [rule for spec in holding for rule in spec["ingress"]]
    let_in = [rule for rule in rules if not rule.get("from") or any(admits(peer, source) for peer in rule["from"])]  # fmt: skip
    return {port["port"] for rule in let_in for port in rule["ports"]}


def callers(overlay: Overlay, workload: Workload, port: str) -> set[str]:
    return {name for name, source in SOURCES.items() if port in open_ports(overlay, source, workload)}


def test_only_decoders_reach_encoders(overlay: Overlay) -> None:
    assert callers(overlay, overlay.workloads["fovea-encoder"], "grpc") == {"decoder"}


def test_gateways_and_labelled_clients_reach_decoders(overlay: Overlay) -> None:
    assert callers(overlay, overlay.workloads["fovea-decoder"], "grpc") == {"gateway", "client"}


def test_everybody_reaches_gateways(overlay: Overlay) -> None:
    assert callers(overlay, overlay.workloads["fovea-gateway"], "http") == set(SOURCES)


def test_metrics_are_for_prometheus_and_health_for_the_node_alone(overlay: Overlay) -> None:
    """The node is always let in."""
    monitored = {"prometheus"} if overlay.of_kind("ServiceMonitor") else set()
    for workload in overlay.workloads.values():
        assert callers(overlay, workload, "metrics") == monitored
        assert callers(overlay, workload, "health") == set()


def test_encoders_call_nobody_and_others_are_not_held_back(overlay: Overlay) -> None:
    rules = {
        name: [rule for spec in policies(overlay, workload, "Egress") for rule in spec.get("egress", ())]
        for name, workload in overlay.workloads.items()
    }
    assert policies(overlay, overlay.workloads["fovea-encoder"], "Egress")
    assert not rules["fovea-encoder"]
    for name in ("fovea-decoder", "fovea-gateway"):
        assert not policies(overlay, overlay.workloads[name], "Egress")
