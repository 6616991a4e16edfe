"""The command with TLS and tokens, and `fovea token new`."""

from __future__ import annotations

import json
import stat
import threading

import pytest

from fovea.access.files import CredentialFile
from fovea.access.tls import TlsFiles
from fovea.cli import token
from fovea.cli.readiness import is_ready
from fovea.server.identity import Identity, Role
from fovea.server.tls import server_credentials
from fovea.server.tokens import entry, parse
from tests.certificates import Authority
from tests.fovea.client.fakes import served


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def secure_address(decoder, authority):
    pair = authority.issue("server")
    files = TlsFiles(CredentialFile(pair.cert, "cert"), CredentialFile(pair.key, "key"))
    with served(decoder, credentials=server_credentials(files)) as address:
        yield address


def test_flags_and_variables_reach_a_server_with_tls(fovea, decoder, picture, authority, secure_address):
    flags = ("--decoder", secure_address, "--ca", authority.file, "--token", "flag")
    done = fovea("ask", picture, "-q", "?", *flags)
    assert done.exit_code == 0, done.output
    assert decoder.metadata["authorization"] == "Bearer flag"
    environment = {"FOVEA_CA": str(authority.file), "FOVEA_TOKEN": "secret"}
    done = fovea("plan", "64x64", "--decoder", secure_address, env=environment)
    assert done.exit_code == 0, done.output
    assert decoder.metadata["authorization"] == "Bearer secret"


def test_a_token_for_another_machine_needs_tls(fovea):
    done = fovea("plan", "64x64", "--decoder", "decoder.example.com:1", "--token", "secret")
    assert done.exit_code == 1
    assert "not sent to decoder.example.com:1 without TLS" in done.stderr


def test_readiness_over_tls(authority, secure_address):
    assert is_ready(secure_address, str(authority.file))
    assert not is_ready(secure_address)


@pytest.mark.parametrize("variable", ["FOVEA_DECODER_TLS_CERT", "FOVEA_GATEWAY_TLS_CERT"])
def test_serve_has_no_tls(fovea, variable):
    done = fovea("serve", env={variable: "server.pem"})
    assert done.exit_code == 2
    assert f"{variable}: `fovea serve` runs without TLS" in done.stderr


def test_a_new_token_is_printed_once_with_the_entry_of_its_digest(fovea, tmp_path):
    done = fovea("token", "new", "--tenant", "acme", "--role", "user", "--name", "backend")
    assert done.exit_code == 0
    token = done.stdout.strip()
    file = tmp_path / "tokens.toml"
    file.write_text(done.stderr[done.stderr.index("[[token]]") :])
    assert parse(CredentialFile(file, "x")).identify(token) == Identity("acme", Role.USER, "backend")
    assert token not in done.stderr


def test_new_tokens_are_appended_to_the_file(fovea, tmp_path):
    file, link = tmp_path / "tokens.toml", tmp_path / "link.toml"
    tokens = []
    for number, role in enumerate(Role):
        done = fovea("token", "new", "--tenant", "acme", "--role", role, "--file", file, "--json")
        assert done.exit_code == 0, done.output
        tokens.append(json.loads(done.stdout)["token"])
        if not number:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, "the first is for its owner alone"
            file.chmod(0o640)
            file.write_text("# a comment\n" + file.read_text())
    link.symlink_to(file)
    tokens.append(fovea("token", "new", "--tenant", "b", "--role", "user", "--file", link).stdout.strip())
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    known = parse(CredentialFile(file, "x"))
    roles = [(known.identify(token).tenant, known.identify(token).role) for token in tokens]
    assert roles == [*(("acme", role) for role in Role), ("b", Role.USER)]
    assert file.read_text().startswith("# a comment\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.toml", "tokens.toml"]


def test_concurrent_commands_lose_no_entry(tmp_path, monkeypatch):
    """The second begins after the first has read the file, and would be lost when the first replaces it."""
    file, replace = tmp_path / "tokens.toml", token._replace
    lines = [entry(name, Identity(name, Role.USER)) for name in ("first", "second")]
    second = threading.Thread(target=token._append, args=(file, lines[1]))

    def slow(path, text):
        monkeypatch.setattr(token, "_replace", replace)
        second.start()
        second.join(0.2)  # without a lock, long enough for it to end
        replace(path, text)

    monkeypatch.setattr(token, "_replace", slow)
    token._append(file, lines[0])
    second.join()
    known = parse(CredentialFile(file, "x"))
    assert [known.identify(name).tenant for name in ("first", "second")] == ["first", "second"]


def test_a_broken_token_file_is_left_alone(fovea, tmp_path):
    file = tmp_path / "tokens.toml"
    file.write_text("[[token")
    done = fovea("token", "new", "--tenant", "acme", "--role", "user", "--file", file)
    assert done.exit_code == 1
    assert "is not TOML" in done.stderr
    assert file.read_text() == "[[token"
    done = fovea("token", "new", "--tenant", "acme", "--role", "user", "--file", tmp_path / "no" / "file")
    assert "cannot write" in done.stderr


@pytest.mark.parametrize(("option", "value"), [("--tenant", "a b"), ("--name", 'a"b')])
def test_what_the_file_could_not_hold_is_refused(fovea, option, value):
    done = fovea("token", "new", "--tenant", "acme", "--role", "user", option, value)
    assert done.exit_code == 1
    assert done.stdout == ""
