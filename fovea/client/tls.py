"""TLS of a client: which servers it trusts, and the certificate that it shows to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fovea.access.channel import ClientCredentials
from fovea.access.files import CredentialFile
from fovea.access.tls import TlsFiles
from fovea.contract.errors import CredentialsInvalid


@dataclass(frozen=True)
class Tls:
    """PEM files. Without `ca`, gRPC's own roots decide which servers are trusted.

    `cert` and `key` are for servers that require a client certificate (mTLS). `server_name` is the name in
    the server's certificate, if it differs from the address.
    """

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str = ""


Security = Tls | ClientCredentials | None
"""TLS files, or credentials that are loaded already; None for a connection in plain text."""


def credentials(tls: Security) -> ClientCredentials:
    """Raises CredentialsInvalid for a file that cannot be used."""
    if isinstance(tls, ClientCredentials):
        return tls
    if tls is None:
        return ClientCredentials()
    if (tls.cert is None) != (tls.key is None):
        raise CredentialsInvalid("the certificate and the key of a client are given together")
    return ClientCredentials(
        TlsFiles(_file(tls.cert, "cert"), _file(tls.key, "key"), _file(tls.ca, "ca")),
        server_name=tls.server_name,
    )


def _file(path: str | Path | None, name: str) -> CredentialFile | None:
    return None if path is None else CredentialFile(Path(path), name)
