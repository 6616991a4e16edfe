"""A second level over TLS: certificate and host name are checked, and a server that fails the check is down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkey import Valkey

from bench.valkey_server import BOUNDED, HOST, ValkeyServer
from tests.certificates import Authority
from tests.encoder.shared.opened import opened, permit
from tests.encoder.store.samples import FIELDS, row_key, rows, same


class SecureServer(ValkeyServer):
    """Speaks TLS only, with a certificate of `authority` for `names`."""

    def __init__(self, authority: Authority, *names: str) -> None:
        super().__init__()
        self._ca = str(authority.file)
        pair = authority.issue("valkey", *names)
        self._options = (
            *BOUNDED,
            *("--port", "0", "--tls-port", str(self.port)),
            *("--tls-cert-file", str(pair.cert), "--tls-key-file", str(pair.key)),
            *("--tls-ca-cert-file", self._ca, "--tls-auth-clients", "no"),
        )

    @property
    def url(self) -> str:
        return self.trusting(self._ca)

    def trusting(self, ca: str | Path) -> str:
        return f"valkeys://{HOST}:{self.port}?ssl_ca_certs={ca}"

    def client(self) -> Valkey:
        return Valkey(host=HOST, port=self.port, ssl=True, ssl_ca_certs=self._ca, ssl_check_hostname=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def server(valkey_program: None, authority: Authority) -> Iterator[SecureServer]:
    yield from _running(SecureServer(authority))


@pytest.fixture
def misnamed(valkey_program: None, authority: Authority) -> Iterator[SecureServer]:
    """A server whose certificate is for another host."""
    yield from _running(SecureServer(authority, "valkey.example"))


def _running(server: SecureServer) -> Iterator[SecureServer]:
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def test_rows_travel_over_tls(server: SecureServer) -> None:
    async with opened(server.url) as cache:
        cache.put_rows(permit(), row_key(1), FIELDS, rows(1))
        await cache.written()
        assert same(await cache.rows(row_key(1), FIELDS), rows(1))
        assert cache.stats().servers_up == 1


async def test_a_certificate_of_an_unknown_authority_is_refused(server: SecureServer, tmp_path: Path) -> None:
    await is_down(server.trusting(Authority(tmp_path / "other").file))


async def test_a_certificate_for_another_host_is_refused(misnamed: SecureServer) -> None:
    await is_down(misnamed.url)


async def test_plain_text_is_not_spoken_to_a_server_of_tls(server: SecureServer) -> None:
    await is_down(f"valkey://{HOST}:{server.port}")


async def is_down(url: str) -> None:
    """Nothing is written there nor read, and no call fails."""
    async with opened(url, rest_s=600) as cache:
        cache.put_rows(permit(), row_key(1), FIELDS, rows(1))
        await cache.written()
        assert await cache.rows(row_key(1), FIELDS) is None
        assert cache.stats().servers_up == 0
