"""Channels of clients: TLS, mTLS and bearer tokens, from files that are loaded anew when they change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from fovea.access.files import CredentialFile, Reloaded
from fovea.access.tls import TlsFiles

Options = Sequence[tuple[str, str | int]]
SERVER_NAME = "grpc.ssl_target_name_override"


def is_sendable(token: str) -> bool:
    """Whether a header can carry the token."""
    return token.isascii() and token.isprintable()


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a bearer token; empty for the empty token."""
    return (("authorization", f"Bearer {token}"),) if token else ()


class ClientCredentials:
    """What a client shows its services and demands of them. Shared by the channels to all of them.

    Without `tls` channels are in plain text. `server_name` is the name in the servers' certificates, where it
    differs from their address.
    """

    def __init__(
        self, tls: TlsFiles | None = None, token: CredentialFile | None = None, server_name: str = ""
    ) -> None:
        """Raises CredentialsInvalid if a file cannot be used now. Later, broken files keep the last ones."""
        self._tls = Reloaded(tls.given, lambda: _channel_credentials(tls)) if tls else None
        self._token = Reloaded([token], lambda: _token(token)) if token else None
        self._server_name = server_name

    def tls(self) -> grpc.ChannelCredentials | None:
        """Another object after every change of the files."""
        return self._tls.get() if self._tls else None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return bearer(self._token.get()) if self._token else ()

    def open(self, module: Any, address: str, options: Options, host: str = "") -> Any:
        """A channel of `module`: `grpc` for a blocking client, `grpc.aio` for asyncio.

        `host` is the name that `address` was looked up by, if any; the certificate is for that name.
        """
        credentials = self.tls()
        if credentials is None:
            return module.insecure_channel(address, options=options)
        name = self._server_name or host
        named = ((SERVER_NAME, name),) if name else ()
        return module.secure_channel(address, credentials, options=(*options, *named))


class RenewedChannel:
    """An asyncio channel that is opened anew when its TLS files change.

    Calls on the old channel go on: gRPC destroys it when the last of them has ended.
    """

    def __init__(self, address: str, options: Options, credentials: ClientCredentials) -> None:
        self._address = address
        self._options = options
        self._credentials = credentials
        self._tls = credentials.tls()
        self._channel = self._open()

    def current(self) -> grpc.aio.Channel:
        tls = self._credentials.tls()
        if tls is not self._tls:
            self._tls, self._channel = tls, self._open()
        return self._channel

    async def close(self) -> None:
        await self._channel.close()

    def _open(self) -> grpc.aio.Channel:
        return self._credentials.open(grpc.aio, self._address, self._options)


def _channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    pem = files.load()
    return grpc.ssl_channel_credentials(pem.ca, pem.key, pem.cert)


def _token(file: CredentialFile) -> str:
    token = file.text().strip()
    if not token or not is_sendable(token):
        raise file.invalid("holds no token of printable ASCII characters")
    return token
