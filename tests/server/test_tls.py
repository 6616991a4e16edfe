"""TLS of a server: who can connect, renewal under a running server, and what is refused at start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fovea.access.channel import ClientCredentials, RenewedChannel
from fovea.access.files import CredentialFile
from fovea.access.tls import TlsFiles
from fovea.contract.errors import CredentialsInvalid
from fovea.server.access import Access
from fovea.server.process import Binding, ServerProcess
from fovea.server.tls import server_credentials
from tests.certificates import Authority, Pair

CALL_S = 10.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "stranger")


def files(pair: Pair | None, ca: Path | None = None) -> TlsFiles:
    return TlsFiles(
        pair and CredentialFile(pair.cert, "--tls-cert"),
        pair and CredentialFile(pair.key, "--tls-key"),
        ca and CredentialFile(ca, "--tls-client-ca"),
    )


async def _many(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for number in range(5):
        yield b"%d" % number
        await asyncio.sleep(0.05)


async def _echo(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    return request


@asynccontextmanager
async def served(tls: TlsFiles) -> AsyncIterator[str]:
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(_echo),
        "Many": grpc.unary_stream_rpc_method_handler(_many),
    }
    generic = grpc.method_handlers_generic_handler("test.Tls", handlers)
    server = ServerProcess(
        Binding("127.0.0.1:0", "", 1 << 20, access=Access(server_credentials(tls))),
        "test.Tls",
        lambda server: server.add_generic_rpc_handlers((generic,)),
        CollectorRegistry(),
    )
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.drain(0)


async def called(address: str, tls: TlsFiles | None, server_name: str = "") -> str:
    """The code of a call over a connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channel = ClientCredentials(tls, server_name=server_name).open(grpc.aio, address, options)
    async with channel:
        try:
            await channel.unary_unary("/test.Tls/Echo")(b"x", timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return "OK"


async def test_a_client_that_trusts_the_authority_connects_and_others_do_not(
    authority: Authority, stranger: Authority
) -> None:
    async with served(files(authority.issue("server"))) as address:
        assert await called(address, files(None, authority.file)) == "OK"
        assert await called(address, files(None, stranger.file)) == "UNAVAILABLE"
        assert await called(address, TlsFiles()) == "UNAVAILABLE", "gRPC's own roots do not include it"
        assert await called(address, None) == "UNAVAILABLE", "plain text"


async def test_a_certificate_for_another_name_needs_that_name(authority: Authority) -> None:
    async with served(files(authority.issue("server", "encoder.internal"))) as address:
        assert await called(address, files(None, authority.file)) == "UNAVAILABLE"
        assert await called(address, files(None, authority.file), "encoder.internal") == "OK"


async def test_with_a_client_ca_only_its_certificates_may_connect(
    authority: Authority, stranger: Authority
) -> None:
    async with served(files(authority.issue("server"), authority.file)) as address:
        assert await called(address, files(authority.issue("client"), authority.file)) == "OK"
        assert await called(address, files(None, authority.file)) == "UNAVAILABLE", "no certificate"
        assert await called(address, files(stranger.issue("client"), authority.file)) == "UNAVAILABLE"


async def test_new_connections_get_a_renewed_certificate_without_a_restart(
    authority: Authority, stranger: Authority
) -> None:
    pair = authority.issue("server")
    async with served(files(pair)) as address:
        old = ClientCredentials(files(None, authority.file)).open(grpc.aio, address, ())
        async with old:
            await old.unary_unary("/test.Tls/Echo")(b"x", timeout=CALL_S)
            assert await called(address, files(None, stranger.file)) == "UNAVAILABLE"
            with capture_logs() as logs:
                pair.replace(stranger.issue("renewed"))
                assert await called(address, files(None, stranger.file)) == "OK"
                assert await called(address, files(None, authority.file)) == "UNAVAILABLE"
            assert "credentials reloaded" in [line["event"] for line in logs]
            await old.unary_unary("/test.Tls/Echo")(b"x", timeout=CALL_S)  # an open connection stays


async def test_a_renewed_client_ca_decides_about_new_connections(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    ca = tmp_path / "clients.pem"
    ca.write_bytes(stranger.file.read_bytes())
    client = files(authority.issue("client"), authority.file)
    async with served(files(authority.issue("server"), ca)) as address:
        assert await called(address, client) == "UNAVAILABLE"
        ca.write_bytes(stranger.file.read_bytes() + authority.file.read_bytes())
        assert await called(address, client) == "OK"


@pytest.mark.parametrize("damage", ["cut off", "removed", "of another certificate"])
async def test_a_broken_renewal_keeps_the_certificate_and_logs_it_once(
    authority: Authority, stranger: Authority, damage: str
) -> None:
    pair = authority.issue("server")
    async with served(files(pair)) as address:
        with capture_logs() as logs:
            if damage == "removed":
                pair.key.unlink()
            elif damage == "cut off":
                pair.key.write_bytes(pair.key.read_bytes()[:60])
            else:
                os.replace(stranger.issue("other").key, pair.key)
            for _ in range(3):
                assert await called(address, files(None, authority.file)) == "OK"
        kept = [line for line in logs if line["event"] == "credentials not reloaded"]
        assert len(kept) == 1
        assert "--tls-key" in kept[0]["problem"]
        pair.replace(authority.issue("whole"))
        with capture_logs() as logs:
            assert await called(address, files(None, authority.file)) == "OK"
        assert [line["event"] for line in logs if "credentials" in line["event"]] == ["credentials reloaded"]


ENCRYPTED = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIIBvTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("wrong", "content", "setting", "problem"),
    [
        ("cert", None, "--tls-cert", "cannot be read: No such file"),
        ("key", None, "--tls-key", "cannot be read: No such file"),
        ("ca", None, "--tls-client-ca", "cannot be read: No such file"),
        ("cert", "", "--tls-cert", "no readable PEM certificate"),
        ("cert", "\xff", "--tls-cert", "no readable PEM certificate"),
        ("key", "", "--tls-key", "no readable, unencrypted PEM private key"),
        ("key", ENCRYPTED, "--tls-key", "no readable, unencrypted PEM private key"),
        ("ca", "no certificate", "--tls-client-ca", "no readable PEM certificate"),
    ],
)
def test_a_wrong_file_is_refused_at_start_by_the_name_of_its_setting(
    authority: Authority, wrong: str, content: str | None, setting: str, problem: str
) -> None:
    pair = authority.issue("server")
    path = {"cert": pair.cert, "key": pair.key, "ca": authority.file}[wrong]
    server_credentials(files(pair, authority.file))
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(CredentialsInvalid, match=problem) as refused:
        server_credentials(files(pair, authority.file))
    assert str(refused.value).startswith(f"{setting}: {path}")
    assert "\n" not in str(refused.value)


def test_a_key_of_another_certificate_is_refused_at_start(authority: Authority) -> None:
    pair = Pair(authority.issue("server").cert, authority.issue("other").key)
    with pytest.raises(CredentialsInvalid, match=r"^--tls-key: .* is not the key of .*--tls-cert"):
        server_credentials(files(pair))


async def test_a_channel_is_opened_anew_when_its_files_change(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """The running stream ends as if nothing had happened; the next call trusts another authority."""
    ca = tmp_path / "trusted.pem"
    ca.write_bytes(authority.file.read_bytes())
    server = authority.issue("server")
    async with served(files(server)) as address:
        channel = RenewedChannel(address, (), ClientCredentials(files(None, ca)))
        first = channel.current()
        assert channel.current() is first
        stream: Any = first.unary_stream("/test.Tls/Many")(b"", timeout=CALL_S)
        assert await stream.read() == b"0"
        server.replace(stranger.issue("renewed"))
        ca.write_bytes(stranger.file.read_bytes())
        assert channel.current() is not first
        del first
        assert await channel.current().unary_unary("/test.Tls/Echo")(b"x", timeout=CALL_S) == b"x"
        assert [await stream.read() for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        assert await stream.read() is grpc.aio.EOF
        await channel.close()
