"""Parse and check the `host:port` addresses of settings; IPv6 hosts stand in brackets."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+")
_MAX_PORT = 65_535


@dataclass(frozen=True)
class Address:
    """A host and a port. A server that listens on port 0 picks a free port; clients cannot call port 0."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, lowest_port: int = 0) -> Address:
        """Parse `host:port`. Raises ValueError that says what is wrong with `text`."""
        if "://" in text:
            raise ValueError(f"{text!r} is a URL; write host:port")
        host, colon, port = text.rpartition(":")
        if not colon or not _HOST.fullmatch(host):
            raise ValueError(f"{text!r} is not host:port")
        if not (port.isascii() and port.isdigit() and lowest_port <= int(port) <= _MAX_PORT):
            raise ValueError(f"{text!r} has no port between {lowest_port} and {_MAX_PORT}")
        return cls(host.strip("[]"), int(port))


def listened(text: str) -> str:
    """Return `text` if a gRPC server can listen on it: `host:port` or `unix:path`. Raises ValueError."""
    if not _is_socket(text):
        Address.parse(text)
    return text


def listened_or_off(text: str) -> str:
    """Return `text` if a metrics server can listen on it. The empty string switches the server off."""
    if text:
        Address.parse(text)
    return text


def called(text: str) -> str:
    """Return `text` if a gRPC client can call it: `host:port` or `unix:path`. Raises ValueError."""
    if not _is_socket(text):
        Address.parse(text, lowest_port=1)
    return text


def is_loopback(text: str) -> bool:
    """Whether only this machine can reach a server that listens on `text`. Host names count as remote."""
    if _is_socket(text):
        return True
    host = text.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_socket(text: str) -> bool:
    return text.startswith("unix:") and len(text) > len("unix:") and "://" not in text
