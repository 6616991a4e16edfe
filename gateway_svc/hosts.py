"""Lists of host names, as operators write them: names, wildcards, ports."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_MAX_PORT = 65_535


@dataclass(frozen=True)
class HostPattern:
    """`name`, or `*.name` for every name below it. Without `port` the scheme's own port is meant."""

    name: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Raises ValueError that quotes the entry."""
        match = re.fullmatch(r"(.*?)(?::(\d+))?", text.strip().lower())
        name, port = (match.group(1), match.group(2)) if match else ("", None)
        if not _NAME.fullmatch(name) or (port and not 0 < int(port) <= _MAX_PORT):
            raise ValueError(f"{text.strip()!r} is not a host name, *.name or host:port")
        return cls(name, int(port) if port else None)

    def matches(self, host: str) -> bool:
        """Whether the name matches; the port is the caller's to compare."""
        if self.name.startswith("*."):
            return host.endswith(self.name[1:]) and len(host) > len(self.name) - 1
        return host == self.name


@dataclass(frozen=True)
class HostList:
    """Patterns; the empty list matches nothing."""

    patterns: tuple[HostPattern, ...] = ()

    @classmethod
    def parse(cls, text: str) -> HostList:
        """From comma-separated entries. Raises ValueError for the first invalid entry."""
        return cls(tuple(HostPattern.parse(entry) for entry in text.split(",") if entry.strip()))

    def allows(self, host: str, port: int, default_port: int) -> bool:
        """Whether a pattern has this host, and this port: its own, or else the scheme's."""
        name = host.lower().rstrip(".")
        return any(each.matches(name) and port == (each.port or default_port) for each in self.patterns)

    def names(self, host: str) -> bool:
        """Whether a pattern has this host, at any port."""
        return any(each.matches(host.lower().rstrip(".")) for each in self.patterns)
