"""Every overlay is what Kubernetes and the services accept, and its parts fit each other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from encoder_svc.settings import EncoderSettings
from fovea.settings import unknown_variables
from tests.deploy.dockerfile import image
from tests.deploy.kubernetes import schemas
from tests.deploy.kubernetes.manifests import FOLDER, Document, Overlay, render
from tests.deploy.kubernetes.settings import chosen
from tests.deploy.test_compose import SETTINGS, VARIABLES

pytestmark = pytest.mark.clients
CLOSING_S = 10.0
"""For a service to close its store, its ledger and its model after the last call."""
ASKED = {
    "startupProbe": ("liveness", "/healthz"),
    "readinessProbe": ("readiness", "/readyz"),
    "livenessProbe": ("liveness", "/healthz"),
}
"""The service of gRPC's health, or the path of HTTP, that each probe asks for. A process that loads lives, and is not ready."""
SIZES = {"Mi": 2**20, "Gi": 2**30}


def bytes_of(quantity: str) -> int:
    return int(quantity[:-2]) * SIZES[quantity[-2:]]


def test_every_document_is_of_its_published_schema(overlay: Overlay) -> None:
    for document in overlay.documents:
        schemas.check(document)


def test_the_volume_of_the_models_is_of_its_published_schema(built: Callable[[str], Overlay]) -> None:
    documents = render(FOLDER / "models")
    kinds = {document["kind"]: document for document in documents}
    assert kinds.keys() == {"Namespace", "PersistentVolumeClaim", "Pod"}
    assert kinds["Pod"]["spec"]["containers"][0]["image"] == image("encoder-cpu")
    for document in documents:
        schemas.check(document)
    claims = {one["metadata"]["name"] for one in documents if one["kind"] == "PersistentVolumeClaim"}
    for workload in built("cpu-dev").workloads.values():
        for volume in workload.mounts.values():
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or claim["claimName"] in claims


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("StatefulSet", lambda spec: spec.update(minReadySecond=1)),
        ("Deployment", lambda spec: spec.update(replicas="two")),
        ("NetworkPolicy", lambda spec: spec["ingress"][0].update(form=[])),
        ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(prot="metrics")),
        ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(interval=15)),
        ("ScaledObject", lambda spec: spec.update(maxReplicas=2)),
        ("ScaledObject", lambda spec: spec["triggers"][0].pop("metadata")),
    ],
)
def test_a_mistake_in_a_document_is_refused(
    kind: str, change: Callable[[Document], object], built: Callable[[str], Overlay]
) -> None:
    document = copy.deepcopy(next(iter(built("many").of_kind(kind).values())))
    if kind in ("StatefulSet", "Deployment"):
        document["spec"].setdefault("replicas", 2)
    schemas.check(document)
    change(document["spec"])
    with pytest.raises(schemas.Invalid, match=kind):
        schemas.check(document)


def test_there_are_encoders_decoders_and_gateways(overlay: Overlay) -> None:
    kinds = {name: (one.document["kind"], one.package) for name, one in overlay.workloads.items()}
    assert kinds == {
        "fovea-encoder": ("StatefulSet", "encoder_svc"),
        "fovea-decoder": ("Deployment", "decoder_svc"),
        "fovea-gateway": ("Deployment", "gateway_svc"),
    }
    for workload in overlay.workloads.values():
        assert workload.container["command"] == ["python", "-m", workload.package]


def test_every_variable_is_a_setting(overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    for workload in overlay.workloads.values():
        kind, variables = SETTINGS[workload.package], workload.environment(f"{workload.name}-0")
        assert {name for name in variables if name.startswith("FOVEA_")} <= VARIABLES
        assert unknown_variables(kind, variables) == []
        settings = chosen(workload, monkeypatch)
        for field in kind.model_fields:
            if value := variables.get(kind.variable(field)):
                assert str(getattr(settings, field)).lower().removesuffix(".0") == value.lower()


def test_a_pod_has_the_time_that_its_drain_may_take(
    overlay: Overlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for workload in overlay.workloads.values():
        needed = workload.stop_s + chosen(workload, monkeypatch).grace_s + CLOSING_S
        assert workload.pod["terminationGracePeriodSeconds"] >= needed, workload.name


def test_a_pod_that_clients_find_by_its_readiness_waits_until_they_have_forgotten_it(
    overlay: Overlay,
) -> None:
    """Before it refuses calls. Where addresses are published anyway, waiting would be of no use."""
    for name, workload in overlay.workloads.items():
        by_readiness = not overlay.of_kind("Service")[name]["spec"].get("publishNotReadyAddresses")
        assert (workload.stop_s > 0) is by_readiness, name


def test_probes_and_ports_are_those_of_the_settings(
    overlay: Overlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for workload in overlay.workloads.values():
        settings, container = chosen(workload, monkeypatch), workload.container
        ports = {int(value.rpartition(":")[2]) for value in _addresses(settings)}
        assert ports == {port["containerPort"] for port in container["ports"]}
        for probe, (service, path) in ASKED.items():
            if grpc := container[probe].get("grpc"):
                assert (f"0.0.0.0:{grpc['port']}", grpc["service"]) == (settings.health_listen, service)
            else:
                http = container[probe]["httpGet"]
                assert (f"0.0.0.0:{workload.port(http['port'])}", http["path"]) == (settings.listen, path)
                assert http.get("scheme", "HTTP") == ("HTTPS" if settings.tls_cert else "HTTP")


def _addresses(settings: Any) -> list[str]:
    names = ("listen", "metrics_listen", "health_listen")
    return [value for name in names if (value := getattr(settings, name, ""))]


def test_services_find_the_pods_and_their_ports(overlay: Overlay) -> None:
    for service in overlay.of_kind("Service").values():
        (workload,) = [
            one for one in overlay.workloads.values() if service["spec"]["selector"].items() <= one.labels.items()
        ]  # fmt: skip
        for port in service["spec"]["ports"]:
            assert workload.port(port["targetPort"]) == port["port"]
    headless = {name for name, one in overlay.of_kind("Service").items() if one["spec"].get("clusterIP")}
    assert headless == {"fovea-encoder", "fovea-decoder", "fovea-gateway-metrics"}


def test_decoders_know_the_encoders_and_gateways_the_decoders(
    overlay: Overlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders, decoders, gateways = overlay.workloads.values()
    settings = chosen(decoders, monkeypatch)
    names = [
        f"{encoders.name}-{number}.{encoders.spec['serviceName']}:{encoders.port('grpc')}"
        for number in range(encoders.spec.get("replicas", 0))
    ]
    everyone = f"dns:///{encoders.spec['serviceName']}:{encoders.port('grpc')}"
    assert settings.encoders == (",".join(names) or everyone)
    published = overlay.of_kind("Service")[encoders.spec["serviceName"]]["spec"]
    assert published["publishNotReadyAddresses"] is True, "an encoder that loads would have no name"
    assert chosen(encoders, monkeypatch).name == f"{encoders.name}-0", "receipts name the pod"
    assert chosen(gateways, monkeypatch).decoder == f"dns:///{decoders.name}:{decoders.port('grpc')}"


def test_every_pod_is_restricted_and_bounded(overlay: Overlay) -> None:
    for workload in overlay.workloads.values():
        pod, container = workload.pod, workload.container
        assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, False)
        assert pod["shareProcessNamespace"] is True
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert bytes_of(container["resources"]["limits"]["memory"]) >= bytes_of(
            container["resources"]["requests"]["memory"]
        )


def test_what_a_service_writes_lies_on_a_volume(overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders, decoders, _ = overlay.workloads.values()
    store = encoders.mounts[str(chosen(encoders, monkeypatch).cache_dir)]
    (mode,) = store["spec"]["accessModes"]
    assert mode in ("ReadWriteOnce", "ReadWriteOncePod"), "a store has one writer"
    assert "emptyDir" in decoders.mounts[str(chosen(decoders, monkeypatch).ledger_dir)]
    for workload in overlay.workloads.values():
        assert "emptyDir" in workload.mounts["/tmp"]


def test_checkpoints_are_read_from_their_volume(overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders, decoders, _ = overlay.workloads.values()
    for workload in (encoders, decoders):
        volume = workload.mounts[str(chosen(workload, monkeypatch).model.parent)]
        assert volume["persistentVolumeClaim"]["claimName"] == "fovea-models"


def test_a_store_has_room_for_its_compaction(overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = overlay.workloads["fovea-encoder"]
    settings: EncoderSettings = chosen(encoders, monkeypatch)
    (claim,) = encoders.spec["volumeClaimTemplates"]
    size = bytes_of(claim["spec"]["resources"]["requests"]["storage"])
    assert size >= 2 * (settings.cache_bytes + settings.uploads_bytes)


def test_budgets_and_labels_fit_the_pods(overlay: Overlay) -> None:
    roles = {"fovea-encoder": "encode", "fovea-decoder": "prefill-decode", "fovea-gateway": None}
    for name, workload in overlay.workloads.items():
        assert workload.labels.get("llm-d.ai/role") == roles[name]
        assert workload.labels["app.kubernetes.io/part-of"] == "fovea"
        assert workload.labels["app.kubernetes.io/component"] == workload.kind
        own = workload.spec["selector"]["matchLabels"]
        assert own.items() <= workload.labels.items()
        assert overlay.of_kind("PodDisruptionBudget")[name]["spec"] == {
            "maxUnavailable": 1,
            "selector": {"matchLabels": own},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",  # a pod that is not ready keeps no node from draining
        }


def test_gpus_are_asked_for_where_the_settings_use_them(
    overlay: Overlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders, decoders, gateways = overlay.workloads.values()
    for workload in (encoders, decoders):
        on_gpu = chosen(workload, monkeypatch).device == "cuda:0"
        assert workload.container["image"] == image(f"{workload.kind}-{'cuda' if on_gpu else 'cpu'}")
        asked = workload.container["resources"]["limits"].get("nvidia.com/gpu")
        assert asked == ("1" if on_gpu else None)
    assert "nvidia.com/gpu" not in gateways.container["resources"]["limits"]
    assert gateways.container["image"] == image("gateway")
    if chosen(decoders, monkeypatch).device == "cuda:0":
        surge = decoders.spec["strategy"]["rollingUpdate"]["maxSurge"]
        assert surge == 0, "it would wait for a GPU that the old pod holds"
