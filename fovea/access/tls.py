"""PEM files of a TLS connection: certificate chain, private key, and the CA of the other side.

They are checked before gRPC gets them, because gRPC accepts broken files and then fails every connection.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from fovea.access.files import CredentialFile


@dataclass(frozen=True)
class Pem:
    """The contents of the files; None for those that are not given."""

    cert: bytes | None
    key: bytes | None
    ca: bytes | None


@dataclass(frozen=True)
class TlsFiles:
    """The files of one side. `cert` and `key` are given together; `ca` verifies the other side."""

    cert: CredentialFile | None = None
    key: CredentialFile | None = None
    ca: CredentialFile | None = None

    @property
    def given(self) -> list[CredentialFile]:
        return [file for file in (self.cert, self.key, self.ca) if file is not None]

    def load(self) -> Pem:
        """Raises CredentialsInvalid, which names the setting of the wrong file."""
        pem = self._read()
        if self.ca is not None:
            _check_certificates(self.ca, pem.ca)
        if self.cert is not None and self.key is not None:
            _check_certificates(self.cert, pem.cert)
            _check_pair(self.cert, self.key)
            if self._read() != pem:  # the check above read the files again
                raise self.cert.invalid("changed while it was read")
        return pem

    def _read(self) -> Pem:
        return Pem(*(None if file is None else file.read() for file in (self.cert, self.key, self.ca)))


def _check_certificates(file: CredentialFile, data: bytes | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=(data or b"").decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise file.invalid("holds no readable PEM certificate") from None


def _check_pair(cert: CredentialFile, key: CredentialFile) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password argument OpenSSL asks for the passphrase of an encrypted key on the terminal.
        context.load_cert_chain(cert.path, key.path, password="")
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise key.invalid(f"is not the key of the certificate in {cert.path} ({cert.setting})") from None
        raise key.invalid("holds no readable, unencrypted PEM private key") from None
    except (OSError, ValueError):
        raise key.invalid("cannot be read") from None
