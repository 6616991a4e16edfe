"""Reads deploy/compose/compose.yaml as Compose would, and refuses what Compose would refuse.

No container engine is needed. Every supported key of a service is listed here with its format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "compose" / "compose.yaml"

Check = Callable[[Any], bool]


def text(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


def record(fields: dict[str, Check]) -> Check:
    return lambda value: (
        isinstance(value, dict)
        and set(value) <= set(fields)
        and all(fields[key](value[key]) for key in value)
    )


def mapping(key: Check, value: Check) -> Check:
    return lambda fields: isinstance(fields, dict) and all(key(k) and value(v) for k, v in fields.items())


NAME, DURATION, SIZE = text(r"[a-z][a-z0-9-]*"), text(r"[0-9]+(ms|s|m|h)"), text(r"[0-9]+(k|m|g)")
FILLED = text(r"(?s).+")
SERVICE: dict[str, Check] = {
    "image": text(r"[a-z][a-z0-9-]*:[a-z]+"),
    "build": record({"context": FILLED, "dockerfile": FILLED, "target": NAME}),
    "environment": mapping(text(r"[A-Z][A-Z0-9_]*"), FILLED),
    "healthcheck": record(
        {
            "test": lambda value: list_of(FILLED)(value) and value[0] == "CMD",
            "interval": DURATION,
            "timeout": DURATION,
            "start_period": DURATION,
            "retries": lambda value: type(value) is int and value > 0,
        }
    ),
    "ports": list_of(text(r"[0-9.]+:[0-9]+:[0-9]+")),
    "volumes": list_of(text(r"[a-z][a-z0-9-]*:/[a-z/]+|\.[a-z./]*:/[a-z/]+:ro")),
    "init": lambda value: value is True,
    "read_only": lambda value: value is True,
    "tmpfs": list_of(text(r"/[a-z/]+")),
    "restart": text("no|always|on-failure|unless-stopped"),
    "mem_limit": SIZE,
    "cap_drop": list_of(FILLED),
    "security_opt": list_of(FILLED),
    "stop_grace_period": DURATION,
}
FORM = record(
    {
        "name": NAME,
        "services": mapping(NAME, record(SERVICE)),
        "volumes": mapping(NAME, lambda value: value is None),
    }
)


class _Loader(yaml.SafeLoader):
    """Refuses a key that occurs twice in a mapping. Plain YAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if not getattr(node, "merged", False) and len(own) != len(set(own)):
            raise ValueError(f"a key stands twice: {own}")
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        node.merged = True


@dataclass(frozen=True)
class Service:
    """A service of the file, with its shared parts merged in."""

    name: str
    fields: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return self.fields["environment"]

    @property
    def target(self) -> str:
        """The target of the Dockerfile that its image is."""
        return self.fields["build"]["target"]

    @property
    def health(self) -> list[str]:
        """The command of its health check."""
        return self.fields["healthcheck"]["test"][1:]

    @property
    def ports(self) -> list[str]:
        """Its ports inside the container."""
        return [
            value.rpartition(":")[2] for value in self.environment.values() if value.startswith("0.0.0.0:")
        ]

    @property
    def folders(self) -> dict[str, str]:
        """Volumes by mount point."""
        return {folder: source for source, folder in self._mounts if not source.startswith(".")}

    @property
    def files(self) -> dict[str, Path]:
        """Folders of this checkout by mount point, read-only."""
        mounts = ((source, folder) for source, folder in self._mounts if source.startswith("."))
        return {folder: (FILE.parent / source).resolve() for source, folder in mounts}

    @property
    def _mounts(self) -> list[tuple[str, str]]:
        parts = (volume.split(":") for volume in self.fields.get("volumes", ()))
        return [(source, folder) for source, folder, *_ in parts]


def parse(source: str) -> dict[str, Any]:
    """Raises ValueError if Compose would refuse the file, or if the file has unexpected keys."""
    parsed = yaml.load(source, _Loader)  # noqa: S506  a subclass of SafeLoader
    if not isinstance(parsed, dict):
        raise ValueError("not a mapping")
    plain = {key: value for key, value in parsed.items() if not key.startswith("x-")}
    if not FORM(plain):
        raise ValueError("not of the form that a compose file has")
    return plain


def services() -> dict[str, Service]:
    parsed = parse(FILE.read_text())["services"]
    return {name: Service(name, fields) for name, fields in parsed.items()}


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"([0-9]+)(ms|s|m|h)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
