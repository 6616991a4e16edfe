"""TLS credentials of a gRPC server, renewed without a restart.

gRPC asks for the certificate at every handshake, so a new connection gets the latest valid one. Open
connections keep theirs. With a client CA the server requires a client certificate that the CA signed (mTLS).
"""

from __future__ import annotations

import grpc

from fovea.access.files import Reloaded
from fovea.access.tls import Pem, TlsFiles


class _Certificates:
    """gRPC's certificate fetcher: the configuration if it changed since the last call, otherwise None."""

    def __init__(self, files: TlsFiles) -> None:
        self._latest = Reloaded(files.given, lambda: _configuration(files.load()))
        self.served = self._latest.get()

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        latest = self._latest.get()
        if latest is self.served:
            return None
        self.served = latest
        return latest


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Raises CredentialsInvalid if the files cannot be used now. Later, broken files keep the last ones."""
    certificates = _Certificates(files)
    return grpc.dynamic_ssl_server_credentials(
        certificates.served, certificates, require_client_authentication=files.ca is not None
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.cert)], root_certificates=pem.ca)
