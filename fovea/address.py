"""An address as settings name one: `host:port`, an IPv6 host in brackets. A wrong one is refused at start."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+")
_MAX_PORT = 65_535


@dataclass(frozen=True)
class Address:
    """A host and a port. Port 0 picks a free one where a server listens, and is none to be called."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, lowest_port: int = 0) -> Address:
        """ValueError, which says what is wrong with `text`."""
        if "://" in text:
            raise ValueError(f"{text!r} is a URL; write host:port")
        host, colon, port = text.rpartition(":")
        if not colon or not _HOST.fullmatch(host):
            raise ValueError(f"{text!r} is not of the form host:port")
        if not (port.isascii() and port.isdigit() and lowest_port <= int(port) <= _MAX_PORT):
            raise ValueError(f"{text!r} has no port between {lowest_port} and {_MAX_PORT}")
        return cls(host.strip("[]"), int(port))


def listened(text: str) -> str:
    """`text`, which a server can listen on. ValueError."""
    Address.parse(text)
    return text


def listened_or_off(text: str) -> str:
    """The same, or empty: that switches it off."""
    return listened(text) if text else text


def called(text: str) -> str:
    """`text`, which a client can call. ValueError."""
    Address.parse(text, lowest_port=1)
    return text
