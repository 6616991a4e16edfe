"""TLS of the HTTP server, renewed without a restart: every handshake takes the latest valid certificate."""

from __future__ import annotations

import ssl
from typing import Any

from fovea.access.files import Reloaded
from fovea.access.tls import TlsFiles


def server_context(files: TlsFiles) -> ssl.SSLContext | None:
    """None without a certificate. Raises CredentialsInvalid if the files cannot be used now.

    With a client CA, clients must show a certificate that it signed (mTLS).
    """
    if files.cert is None or files.key is None:
        return None
    latest = Reloaded(files.given, lambda: _context(files))

    def renew(connection: Any, name: str | None, first: ssl.SSLContext) -> None:
        connection.context = latest.get()

    served = _context(files)
    served.sni_callback = renew  # OpenSSL calls it at every handshake, with or without a name
    return served


def _context(files: TlsFiles) -> ssl.SSLContext:
    pem = files.load()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if files.cert is not None and files.key is not None:
        context.load_cert_chain(files.cert.path, files.key.path)
    if pem.ca is not None:
        context.load_verify_locations(cadata=pem.ca.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context
