"""TLS and tokens of the Python clients, against a server with real certificates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fovea.access.files import CredentialFile
from fovea.access.tls import TlsFiles
from fovea.client import Tls, errors
from fovea.server.tls import server_credentials
from tests.certificates import Authority
from tests.fovea.client.driven import decoder_client
from tests.fovea.client.fakes import served


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def credentials(authority):
    """Of a server for this machine; with a client CA if `mtls`."""

    def make(*names: str, mtls: bool = False):
        pair = authority.issue("server", *names)
        return server_credentials(
            TlsFiles(
                CredentialFile(pair.cert, "cert"),
                CredentialFile(pair.key, "key"),
                CredentialFile(authority.file, "ca") if mtls else None,
            )
        )

    return make


@pytest.fixture
def secure_address(decoder, credentials) -> Iterator[str]:
    with served(decoder, credentials=credentials()) as address:
        yield address


def refused(kind: str, address: str, tls: Tls | None) -> str:
    """The message of the failed call."""
    with decoder_client(kind, address, timeout_s=30, tls=tls) as client:
        with pytest.raises(errors.Unreachable) as failed:
            client.info()
        return failed.value.message


def test_a_client_with_the_authority_and_a_token_is_served(kind, decoder, authority, secure_address):
    tls = Tls(ca=authority.file)
    with decoder_client(kind, secure_address, "secret", timeout_s=30, tls=tls) as client:
        client.info()
        assert client.ask("?").text
    assert decoder.metadata["authorization"] == "Bearer secret"


def test_a_failed_handshake_says_what_is_wrong(
    kind, decoder, authority, credentials, secure_address, tmp_path
):
    stranger = Authority(tmp_path / "stranger")
    assert "not signed by a CA that this client trusts" in refused(kind, secure_address, Tls(stranger.file))
    assert "not signed by a CA that this client trusts" in refused(kind, secure_address, Tls())
    with served(decoder) as plain:
        assert "it does not serve TLS" in refused(kind, plain, Tls(authority.file))
    with served(decoder, credentials=credentials("encoder.internal")) as other:
        assert "certificate is for another name" in refused(kind, other, Tls(authority.file))
        named = Tls(authority.file, server_name="encoder.internal")
        with decoder_client(kind, other, timeout_s=30, tls=named) as client:
            client.info()


def test_a_client_certificate_opens_a_server_that_requires_it(kind, decoder, authority, credentials):
    pair = authority.issue("client")
    with served(decoder, credentials=credentials(mtls=True)) as address:
        assert refused(kind, address, Tls(authority.file))
        with decoder_client(
            kind, address, timeout_s=30, tls=Tls(authority.file, pair.cert, pair.key)
        ) as client:
            client.info()


@pytest.mark.parametrize("address", ["10.0.0.1:1", "decoder.example.com:1", "0.0.0.0:1"])
def test_a_token_without_tls_is_not_sent_to_another_machine(kind, address):
    with (
        pytest.raises(errors.InvalidArgument, match=f"not sent to {address} without TLS"),
        decoder_client(kind, address, "secret"),
    ):
        pass
    with decoder_client(kind, address):
        pass
    with decoder_client(kind, address, "secret", tls=Tls()):
        pass


def test_wrong_files_are_refused_when_the_client_is_made(kind, authority, tmp_path):
    pair, other = authority.issue("client"), authority.issue("other")
    for tls, problem in (
        (Tls(ca=tmp_path / "none"), "^ca: .* cannot be read"),
        (Tls(ca=pair.key), "^ca: .* no readable PEM certificate"),
        (Tls(cert=pair.cert), "are given together"),
        (Tls(cert=pair.cert, key=other.key), "^key: .* is not the key of the certificate"),
    ):
        with (
            pytest.raises(errors.CredentialsInvalid, match=problem),
            decoder_client(kind, "127.0.0.1:1", tls=tls),
        ):
            pass
