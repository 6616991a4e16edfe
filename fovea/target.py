"""The servers that a setting or a caller names: listed addresses, or a DNS name."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.address import called, is_loopback
from fovea.dns import SCHEME, DnsName


@dataclass(frozen=True)
class Target:
    """`addresses` are listed, where a host name counts as a single server; or all addresses of `name` are
    servers, including later ones. Never both: only a name can be looked up again.
    """

    addresses: tuple[str, ...] = ()
    name: DnsName | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse `host:port`, `host:port,host:port` or `dns:///host:port`. Raises ValueError."""
        parts = [part.strip() for part in text.split(",")]
        if not any(parts):
            raise ValueError("names no server")
        if not all(parts):
            raise ValueError(f"{text!r} has an empty entry")
        if not any(part.startswith(SCHEME) for part in parts):
            return cls(tuple(dict.fromkeys(map(called, parts))))
        if len(parts) > 1:
            raise ValueError("a dns: name stands alone")
        return cls(name=DnsName.parse(parts[0]))

    def __str__(self) -> str:
        return str(self.name) if self.name else ",".join(self.addresses)

    @property
    def is_several(self) -> bool:
        """Whether there may be more than a single server."""
        return self.name is not None or len(self.addresses) > 1

    @property
    def is_local(self) -> bool:
        """Whether all servers are on this machine. Names other than localhost count as remote."""
        return not self.name and all(map(is_loopback, self.addresses))


def targeted(text: str) -> str:
    """Return `text` in its usual form if it names servers. Raises ValueError."""
    return str(Target.parse(text))
