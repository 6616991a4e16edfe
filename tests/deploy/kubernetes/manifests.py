"""The manifests of deploy/k8s as `kustomize build` renders them, and what a kubelet reads of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "k8s"
KUSTOMIZE = ROOT / "build" / "tools" / "kustomize"
OVERLAYS = ("cpu-dev", "one-gpu-each", "many")
NAME = "app.kubernetes.io/name"
Document = dict[str, Any]
Secrets = Mapping[str, Mapping[str, str]]
"""Keys and values of Secrets by name."""


class SecretMissing(Exception):
    """A pod needs a Secret that there is not, and would not start."""


@dataclass(frozen=True)
class Overlay:
    """The documents of an overlay, and the Secrets that its users make."""

    documents: list[Document]
    secrets: Secrets = field(default_factory=dict)

    @classmethod
    def build(cls, name: str, secrets: Secrets | None = None) -> Overlay:
        return cls(render(FOLDER / "overlays" / name), secrets or {})

    def of_kind(self, kind: str) -> dict[str, Document]:
        """Documents by name."""
        return {one["metadata"]["name"]: one for one in self.documents if one["kind"] == kind}

    @cached_property
    def workloads(self) -> dict[str, Workload]:
        """The StatefulSet and the Deployments by name."""
        kinds = ("StatefulSet", "Deployment")
        return {name: Workload(one, self) for kind in kinds for name, one in self.of_kind(kind).items()}


@dataclass(frozen=True)
class Workload:
    """A StatefulSet or a Deployment, with a single container."""

    document: Document
    overlay: Overlay

    @property
    def name(self) -> str:
        name: str = self.document["metadata"]["name"]
        return name

    @property
    def spec(self) -> Document:
        spec: Document = self.document["spec"]
        return spec

    @property
    def pod(self) -> Document:
        spec: Document = self.spec["template"]["spec"]
        return spec

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.spec["template"]["metadata"]["labels"]
        return labels

    @property
    def container(self) -> Document:
        (container,) = self.pod["containers"]
        return dict(container)

    @property
    def package(self) -> str:
        """`encoder_svc`, `decoder_svc` or `gateway_svc`."""
        package: str = self.container["command"][-1]
        return package

    @property
    def kind(self) -> str:
        """`encoder`, `decoder` or `gateway`."""
        return self.package.removesuffix("_svc")

    def port(self, name: str | int) -> int:
        """A port by its name or number."""
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        return name if isinstance(name, int) else int(ports[name])

    @property
    def mounts(self) -> dict[str, Document]:
        """Volumes by mount point."""
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        volumes |= {one["metadata"]["name"]: one for one in self.spec.get("volumeClaimTemplates", ())}
        return {mount["mountPath"]: volumes[mount["name"]] for mount in self.container["volumeMounts"]}

    @property
    def stop_s(self) -> float:
        """Seconds of the preStop hook."""
        sleep = self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        return float(sleep.get("seconds", 0))

    def environment(self, pod: str) -> dict[str, str]:
        """The variables of a pod's container. Raises SecretMissing."""
        variables: dict[str, str] = {}
        for source in self.container.get("envFrom", ()):
            variables |= self.overlay.of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
        return variables | dict(self._own_variables(pod))

    def _own_variables(self, pod: str) -> Iterator[tuple[str, str]]:
        for variable in self.container["env"]:
            source = variable.get("valueFrom", {})
            if "value" in variable:
                yield variable["name"], variable["value"]
            elif source.get("fieldRef") == {"fieldPath": "metadata.name"}:
                yield variable["name"], pod
            else:
                key = source["secretKeyRef"]
                secret = self.overlay.secrets.get(key["name"], {})
                if key["key"] in secret:
                    yield variable["name"], secret[key["key"]]
                elif not key.get("optional"):
                    raise SecretMissing(f"{key['name']}/{key['key']}")


def render(folder: Path) -> list[Document]:
    """The documents of a kustomization."""
    built = subprocess.run([KUSTOMIZE, "build", folder], capture_output=True, text=True, check=True)
    assert not built.stderr, built.stderr  # such as a warning of something deprecated
    return [document for document in yaml.safe_load_all(built.stdout) if document]
