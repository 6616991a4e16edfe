"""The settings that secure a server: which addresses need TLS and tokens, and which settings need each other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decoder_svc.settings import DecoderSettings
from encoder_svc.settings import EncoderSettings
from fovea.address import is_loopback
from fovea.contract.errors import CredentialsInvalid
from fovea.server.identity import Identity, Role
from fovea.server.settings import AccessSettings
from fovea.server.tokens import entry
from fovea.settings import load
from tests.certificates import Authority

BOTH = pytest.mark.parametrize("kind", [EncoderSettings, DecoderSettings])
TLS_AND_TOKENS = ("--tls-cert", "c", "--tls-key", "k", "--tokens", "t")


def loaded(kind: type[AccessSettings], *argv: str) -> Any:
    return load(kind, ("--model", "m", *argv), program="test", description="test", environ={})


def refused(kind: type[AccessSettings], capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The single line with which the service ends."""
    with pytest.raises(SystemExit) as exit_:
        loaded(kind, *argv)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/run/fovea.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("[fe80::1]:1", False),
        ("localhost.example.com:1", False),
        ("127.0.0.1.example.com:1", False),
        ("encoder:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(address: str, local: bool) -> None:
    assert is_loopback(address) is local


@BOTH
@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "unix:/run/x.sock"])
def test_on_loopback_neither_tls_nor_tokens_are_needed(kind: type[AccessSettings], address: str) -> None:
    access = loaded(kind, "--listen", address).access()
    assert (access.credentials, access.tokens, access.reflection) == (None, None, True)


@BOTH
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ((), ("tls-cert", "tls-key", "tokens")),
        (("--tokens", "t"), ("tls-cert", "tls-key")),
        (("--tls-cert", "c", "--tls-key", "k"), ("tokens",)),
        (("--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"), ("tokens",)),
    ],
)
def test_another_address_needs_tls_and_tokens_and_the_line_names_what_is_missing(
    kind: type[AccessSettings],
    capsys: pytest.CaptureFixture[str],
    given: tuple[str, ...],
    missing: tuple[str, ...],
) -> None:
    line = refused(kind, capsys, "--listen", "0.0.0.0:0", *given)
    assert "0.0.0.0:0 is open to other machines" in line
    for name in ("tls-cert", "tls-key", "tokens", "insecure"):
        assert (f"--{name} ({kind.variable(name.replace('-', '_'))})" in line) == (
            name in missing or name == "insecure"
        )
    loaded(kind, "--listen", "0.0.0.0:0", *given, "--insecure", "true")
    loaded(kind, "--listen", "127.0.0.1:0", *given)


@BOTH
def test_another_address_with_both_is_served(kind: type[AccessSettings]) -> None:
    assert not loaded(kind, "--listen", "0.0.0.0:0", *TLS_AND_TOKENS).insecure


@BOTH
@pytest.mark.parametrize(
    ("given", "needs"),
    [
        (("--tls-cert", "c"), "--tls-key"),
        (("--tls-key", "k"), "--tls-cert"),
        (("--tls-client-ca", "a"), "--tls-cert"),
    ],
)
def test_half_of_a_pair_is_refused(
    kind: type[AccessSettings], capsys: pytest.CaptureFixture[str], given: tuple[str, str], needs: str
) -> None:
    line = refused(kind, capsys, *given)
    assert f"{given[0]} (" in line
    assert f"needs {needs} (" in line


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        (("--encoder-cert", "c", "--encoder-ca", "a"), "--encoder-key"),
        (("--encoder-key", "k", "--encoder-ca", "a"), "--encoder-cert"),
        (("--encoder-cert", "c", "--encoder-key", "k"), "--encoder-ca"),
        (("--encoder-token-file", "t", "--encoders", "encoder:1"), "--encoder-ca"),
        (("--encoder-token-file", "t", "--encoders", "127.0.0.1:1,encoder:1"), "--encoder-ca"),
        (("--encoder-token-file", "t", "--encoders", "dns:///encoder:1"), "--encoder-ca"),
    ],
)
def test_the_decoders_credentials_for_encoders_need_each_other(
    capsys: pytest.CaptureFixture[str], given: tuple[str, ...], needs: str
) -> None:
    assert f"needs {needs} (" in refused(DecoderSettings, capsys, *given)


def test_a_token_goes_unencrypted_only_to_this_machine_or_when_told_so() -> None:
    token = ("--encoder-token-file", "t")
    loaded(DecoderSettings, *token, "--encoders", "127.0.0.1:1,unix:/run/x.sock")
    loaded(DecoderSettings, *token, "--encoders", "encoder:1", "--insecure", "true")
    loaded(DecoderSettings, *token, "--encoders", "encoder:1", "--encoder-ca", "a")


@BOTH
def test_files_that_cannot_be_used_are_refused_by_the_name_of_their_setting(
    kind: type[AccessSettings], tmp_path: Path
) -> None:
    pair = Authority(tmp_path / "authority").issue("server")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(entry("secret", Identity("acme", Role.USER)))
    argv = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tokens", str(tokens))
    access = loaded(kind, *argv, "--reflection", "false").access()
    assert access.credentials is not None
    assert access.tokens is not None
    assert not access.reflection
    for path, field in ((tokens, "tokens"), (pair.key, "tls_key"), (pair.cert, "tls_cert")):
        path.unlink()
        with pytest.raises(CredentialsInvalid) as wrong:
            loaded(kind, *argv).access()
        name = field.replace("_", "-")
        assert str(wrong.value).startswith(f"--{name} ({kind.variable(field)}): {path} cannot be read")


def test_encoders_of_a_dns_name_are_held_to_that_name(tmp_path: Path) -> None:
    """They are called by their IP addresses, which no certificate names."""
    ca = Authority(tmp_path / "authority").file

    def options(encoders: str) -> tuple[Any, ...]:
        settings = loaded(DecoderSettings, "--encoders", encoders, "--encoder-ca", str(ca))
        channels = SimpleNamespace(secure_channel=lambda address, credentials, options: options)
        return tuple(settings.encoder_credentials().open(channels, "10.0.0.1:1", ()))

    assert options("dns:///encoder.internal:1") == (("grpc.ssl_target_name_override", "encoder.internal"),)
    assert options("encoder.internal:1") == ()


def test_files_for_encoders_are_refused_by_the_name_of_their_setting(tmp_path: Path) -> None:
    token = tmp_path / "token"
    settings = loaded(DecoderSettings, "--encoder-token-file", str(token))
    for content in (None, "", "two\nlines"):
        if content is not None:
            token.write_text(content)
        with pytest.raises(
            CredentialsInvalid, match=r"^--encoder-token-file \(FOVEA_DECODER_ENCODER_TOKEN_FILE\): "
        ):
            settings.encoder_credentials()
    token.write_text("secret\n")
    assert settings.encoder_credentials().metadata() == (("authorization", "Bearer secret"),)
