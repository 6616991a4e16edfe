"""Published schemas: Kubernetes' own from kubernetes-validate, those of operators from the modules in tools/crds.

Unknown fields are refused everywhere. The API server would drop them, and with them what their author meant.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.deploy.kubernetes.manifests import ROOT, Document

OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()
"""From the version on whose kubelets sleep in a preStop hook."""
DEFINITIONS = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): (
        "github.com/kedacore/keda/v2",
        "config/crd/bases/keda.sh_scaledobjects.yaml",
    ),
}


class Invalid(Exception):
    """A document that the API server would refuse, or of which it would drop a part."""


def check(document: Document) -> None:
    """Raises Invalid, which names the document, the field and the problem."""
    try:
        kind = (document["apiVersion"], document["kind"])
        if kind in DEFINITIONS:
            jsonschema.Draft202012Validator(_schema(*kind)).validate(document)
            return
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(document, version, strict=True)
    except jsonschema.ValidationError as error:
        name = document["metadata"]["name"]
        raise Invalid(f"{document['kind']} {name}: {error.json_path}: {error.message}") from error


@cache
def _modules() -> dict[str, Path]:
    """The folders of the modules; Go compares their checksums with go.sum."""
    command = ["go", "mod", "download", "-json"]
    done = subprocess.run(command, cwd=ROOT / "tools" / "crds", capture_output=True, text=True, check=True)
    decoder, text, modules = json.JSONDecoder(), done.stdout, {}
    while text := text.lstrip():
        module, end = decoder.raw_decode(text)
        modules[module["Path"]] = Path(module["Dir"])
        text = text[end:]
    return modules


@cache
def _schema(api: str, kind: str) -> Document:
    module, path = DEFINITIONS[api, kind]
    definition = yaml.safe_load((_modules()[module] / path).read_text())
    (schema,) = [
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if version["name"] == api.partition("/")[2]
    ]
    return {**_closed(schema), "$schema": jsonschema.Draft202012Validator.META_SCHEMA["$id"]}


def _closed(schema: Any) -> Any:
    """The schema with every object closed whose fields it lists."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(part) for key, part in schema.items()}
    if isinstance(closed.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in schema:
        closed.setdefault("additionalProperties", False)
    return closed
