"""Keeps pages of other sites from calling the gateway in a visitor's browser.

A browser reaches 127.0.0.1 for any page. A page may post without asking, and with a DNS name of its own that
resolves to 127.0.0.1 it may read the answers too. The first is known by its `Origin`, the second by its
`Host`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from fovea.address import is_loopback
from gateway_svc.errors import HostNotAllowed, OriginNotAllowed
from gateway_svc.hosts import HostList
from gateway_svc.settings import GatewaySettings

SHOWN_CHARACTERS = 80


class OriginGuard:
    """Checks `Host` while the gateway asks for no token, and `Origin` always."""

    def __init__(self, config: GatewaySettings) -> None:
        self._hosts = HostList.parse(config.hosts)
        self._any_host = config.tokens is not None
        self._own = config.listen.rpartition(":")[0].strip("[]").lower()

    def check(self, headers: Headers) -> None:
        """Raises HostNotAllowed or OriginNotAllowed."""
        host = headers.get("host", "")
        if not self._any_host and not self._is_ours(_name(host)):
            raise HostNotAllowed(host[:SHOWN_CHARACTERS])
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise OriginNotAllowed(origin[:SHOWN_CHARACTERS])

    def _is_ours(self, name: str) -> bool:
        bracketed = f"[{name}]" if ":" in name else name
        return name == self._own or is_loopback(f"{bracketed}:1") or self._hosts.names(name)


def _name(host: str) -> str:
    """The host of a `Host` header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
