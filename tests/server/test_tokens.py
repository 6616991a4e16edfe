"""The token file: what it holds, what is refused, and how it changes under a running server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fovea.access.files import CredentialFile
from fovea.contract.errors import CredentialsInvalid, TokenUnknown
from fovea.server.identity import Identity, Role
from fovea.server.tokens import digest, entry, load_tokens, new_token, parse

USER = Identity("acme", Role.USER, "backend")
SERVICE = Identity("default", Role.SERVICE)
DIGEST = digest("secret")


def written(folder: Path, *lines: str) -> CredentialFile:
    """The token file with these lines, put there by a rename."""
    made, path = folder / "made", folder / "tokens.toml"
    made.write_text("\n".join(lines))
    os.replace(made, path)
    return CredentialFile(path, "--tokens")


def test_a_token_is_known_by_its_digest_and_a_tenant_may_have_several(tmp_path: Path) -> None:
    old, new, service = new_token(), new_token(), new_token()
    file = written(tmp_path, entry(old, USER), entry(new, USER), entry(service, SERVICE))
    tokens = parse(file)
    assert [tokens.identify(token) for token in (old, new, service)] == [USER, USER, SERVICE]
    for wrong in ("", "x", old[:-1], digest(old), old + " ", "é", "\udcff"):
        with pytest.raises(TokenUnknown):
            tokens.identify(wrong)
    assert old not in file.text()


def test_a_new_token_has_256_bits_and_fits_a_header() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 43 and token.isascii() and " " not in token for token in tokens)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "holds no .*token.* entry"),
        ("[token]\nsha256 = ''", "holds no .*token.* entry"),
        ("[[token]", "is not TOML"),
        ("[[tokens]]", "unknown key 'tokens'"),
        ("token = [1]", "entry 1 is not a table"),
        ("[[token]]\ntenant = 'a'\nrole = 'user'", "entry 1 has no sha256"),
        (f"[[token]]\nsha256 = '{DIGEST.upper()}'\ntenant = 'a'\nrole = 'user'", "entry 1 has no sha256"),
        (f"[[token]]\nsha256 = '{DIGEST}'\nrole = 'user'", "entry 1 has no tenant"),
        (f"[[token]]\nsha256 = '{DIGEST}'\ntenant = 'a b'\nrole = 'user'", "entry 1 has no tenant"),
        (f"[[token]]\nsha256 = '{DIGEST}'\ntenant = 5\nrole = 'user'", "tenant that is not a string"),
        (f"[[token]]\nsha256 = '{DIGEST}'\ntenant = 'a'", "has no role; roles are user, service, operator"),
        (f"[[token]]\nsha256 = '{DIGEST}'\ntenant = 'a'\nrole = 'root'", "has no role"),
        (
            f"[[token]]\nsha256 = '{DIGEST}'\ntenant = 'a'\nrole = 'user'\nexpires = ''",
            "unknown key 'expires'",
        ),
        (f"[[token]]\nsha256 = '{DIGEST}'\ntenant = 'a'\nrole = 'user'\nname = '\"'", "name other than"),
        (
            2 * f"[[token]]\nsha256 = '{DIGEST}'\ntenant = 'a'\nrole = 'user'\n",
            "entry 2 has the sha256 of an",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_entry_and_without_its_content(
    tmp_path: Path, lines: str, problem: str
) -> None:
    file = written(tmp_path, lines)
    with pytest.raises(CredentialsInvalid, match=problem) as refused:
        load_tokens(file)
    text = str(refused.value)
    assert text.startswith(f"--tokens: {file.path} ")
    assert "\n" not in text
    assert DIGEST not in text.lower()


def test_a_token_in_place_of_its_digest_is_not_quoted(tmp_path: Path) -> None:
    token = new_token()
    file = written(tmp_path, f"[[token]]\nsha256 = '{token}'\ntenant = 'a'\nrole = 'user'")
    with pytest.raises(CredentialsInvalid, match="64 lower-case hex digits") as refused:
        parse(file)
    assert token not in str(refused.value)


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsInvalid, match=r"^--tokens: .* cannot be read: No such file"):
        load_tokens(CredentialFile(tmp_path / "none", "--tokens"))


def test_tokens_come_and_go_with_the_file_and_a_broken_file_keeps_them(tmp_path: Path) -> None:
    old, new = new_token(), new_token()
    tokens = load_tokens(written(tmp_path, entry(old, USER)))
    first = tokens.get()
    assert tokens.get() is first
    with pytest.raises(TokenUnknown):
        first.identify(new)

    written(tmp_path, entry(old, USER), entry(new, USER))
    assert tokens.get().identify(new) == tokens.get().identify(old) == USER
    written(tmp_path, entry(new, USER))
    with pytest.raises(TokenUnknown):
        tokens.get().identify(old)

    for lines in ("", "[[token", "[[token]]"):
        written(tmp_path, lines)
        with capture_logs() as logs:
            assert tokens.get().identify(new) == tokens.get().identify(new) == USER
        assert [(line["event"], line["log_level"]) for line in logs] == [
            ("credentials not reloaded", "error")
        ]
        assert "--tokens" in logs[0]["problem"]
    (tmp_path / "tokens.toml").unlink()
    assert tokens.get().identify(new) == USER
    written(tmp_path, entry(old, USER))
    assert tokens.get().identify(old) == USER
