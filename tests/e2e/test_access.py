"""Both services behind TLS and tokens: a decoder that its encoders know, callers that the decoder knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from fovea.client import AsyncClient, AsyncEncoderClient, Tls, errors
from fovea.server.identity import Identity, Role
from fovea.server.tokens import entry
from tests.certificates import Authority
from tests.e2e.house import Service, decoder, encoder
from tests.e2e.pictures import picture

TIMEOUT_S = 60.0


class Closed:
    """An encoder with mTLS and tokens, and a decoder with TLS and tokens that calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority")
        self.server = self.authority.issue("server")
        self.client = self.authority.issue("decoder-as-client")
        self.tokens = folder / "tokens.toml"
        self.token_file = folder / "decoder.token"
        self.allow("first")
        self.token_file.write_text("first\n")

    def allow(self, service_token: str) -> None:
        """The tokens of both services: a user's, an operator's, and the decoder's own."""
        entries = {
            "user": Identity("acme", Role.USER),
            "operator": Identity("acme", Role.OPERATOR),
            service_token: Identity("default", Role.SERVICE),
        }
        made = self.folder / "made.toml"
        made.write_text("\n".join(entry(token, identity) for token, identity in entries.items()))
        made.replace(self.tokens)

    @property
    def common(self) -> dict[str, Any]:
        return {"tls_cert": self.server.cert, "tls_key": self.server.key, "tokens": self.tokens}

    @property
    def encoder(self) -> dict[str, Any]:
        return {**self.common, "tls_client_ca": self.authority.file}

    @property
    def decoder(self) -> dict[str, Any]:
        return {
            **self.common,
            "encoder_ca": self.authority.file,
            "encoder_cert": self.client.cert,
            "encoder_key": self.client.key,
            "encoder_token_file": self.token_file,
            "encoder_check_s": 0.2,
        }

    def secure(self, service: Service) -> Service:
        """`service` with a channel that its server lets in."""
        credentials = grpc.ssl_channel_credentials(
            self.authority.file.read_bytes(), self.client.key.read_bytes(), self.client.cert.read_bytes()
        )
        service.channel = grpc.aio.secure_channel(service.address, credentials)
        return service

    def asking(self, service: Service, token: str | None) -> AsyncClient:
        return AsyncClient(service.address, token, timeout_s=TIMEOUT_S, tls=Tls(self.authority.file))


async def test_both_services_behind_tls_and_tokens(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    closed = Closed(tmp_path)
    first = closed.secure(encoder(checkpoint("moe"), tmp_path / "store", **closed.encoder))
    second: Service | None = None
    try:
        await first.until_ready()
        second = closed.secure(decoder(checkpoint("moe"), [first.address], **closed.decoder))
        await second.until_ready()
        await _a_user_asks_and_others_do_not(closed, first, second)
        await _the_decoders_token_is_renewed(closed, second)
        await _certificates_are_renewed_on_both_sides(closed, second)
    finally:
        if second is not None:
            await second.stop()
        await first.stop()


async def _a_user_asks_and_others_do_not(closed: Closed, first: Service, second: Service) -> None:
    async with closed.asking(second, "user") as client:
        answer = await client.ask("?", [picture(64, 64, 1)])
        assert answer.receipt.images[0].encoder == "encoder-0"
    async with closed.asking(second, None) as client:
        with pytest.raises(errors.TokenMissing):
            await client.ask("?")
    async with closed.asking(second, "first2") as client:
        with pytest.raises(errors.TokenUnknown):
            await client.ask("?")
    mtls = Tls(closed.authority.file, closed.client.cert, closed.client.key)
    async with AsyncEncoderClient(first.address, "user", timeout_s=TIMEOUT_S, tls=mtls) as client:
        with pytest.raises(errors.RoleNotAllowed):
            await client.cache_stats()
    async with AsyncEncoderClient(first.address, "operator", timeout_s=TIMEOUT_S, tls=mtls) as client:
        assert (await client.cache_stats()).uploads == 1


async def _the_decoders_token_is_renewed(closed: Closed, second: Service) -> None:
    """While its token is refused, callers learn that the encoder refuses the decoder, not that they are refused."""
    closed.allow("second")
    async with closed.asking(second, "user") as client:
        with pytest.raises(errors.EncoderUnavailable) as failed:
            await client.ask("?", [picture(64, 64, 2)])
        assert (
            "refuses the credentials" in failed.value.message or "cannot be reached" in failed.value.message
        )
        closed.token_file.write_text("second\n")
        await _answered(client, 3)


async def _certificates_are_renewed_on_both_sides(closed: Closed, second: Service) -> None:
    """Another authority takes over; the decoder opens its channels anew."""
    other = Authority(closed.folder / "other")
    both = closed.authority.file.read_bytes() + other.file.read_bytes()
    closed.authority.file.write_bytes(both)
    closed.server.replace(other.issue("server"))
    closed.client.replace(other.issue("client"))
    closed.authority.file.write_bytes(other.file.read_bytes())
    async with closed.asking(second, "user") as client:
        with capture_logs() as logs:
            await _answered(client, 4)
            async with asyncio.timeout(TIMEOUT_S):
                while not any(_renews(entry, "--encoder-ca") for entry in logs):
                    await _answered(client, 4)
                    await asyncio.sleep(0.2)


def _renews(entry: Mapping[str, Any], setting: str) -> bool:
    return entry["event"] == "credentials reloaded" and setting in entry["settings"]


async def _answered(client: AsyncClient, seed: int) -> None:
    """Within a few checks of the encoders."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await client.ask("?", [picture(64, 64, seed)])
            except errors.EncoderUnavailable:
                await asyncio.sleep(0.2)
            else:
                return


async def test_a_service_with_unusable_files_does_not_start(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    closed = Closed(tmp_path)
    closed.server.key.unlink()
    for start, changes in ((encoder, closed.encoder), (decoder, closed.decoder)):
        target = tmp_path / "store" if start is encoder else ["127.0.0.1:1"]
        service = start(checkpoint("moe"), target, **changes)  # type: ignore[operator]
        with pytest.raises(errors.CredentialsInvalid, match=r"^--tls-key \(FOVEA_"):
            await service.task
        await service.channel.close()
