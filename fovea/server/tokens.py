"""The bearer tokens that a server accepts: a TOML file of SHA-256 digests, each with a tenant and a role.

    [[token]]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    tenant = "acme"
    role = "user"
    name = "backend, 2026"

A tenant may have several tokens, so that a new one is in use before the old one is removed. The file holds no
token: whoever reads it cannot call the server.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea.access.files import CredentialFile, Reloaded
from fovea.contract.errors import TokenUnknown
from fovea.server.identity import TENANT, Identity, Role

TOKEN_BYTES = 32
NAME_CHARACTERS = 64
_FIELDS = {"sha256", "tenant", "role", "name"}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Tokens:
    """Identities by the digest of their token."""

    by_digest: Mapping[str, Identity]

    def identify(self, token: str) -> Identity:
        """The identity of a token. Raises TokenUnknown.

        A dictionary lookup does not take constant time, but what its time could reveal is the digest, and a
        digest does not help to find a token of 256 random bits.
        """
        identity = self.by_digest.get(digest(token))
        if identity is None:
            raise TokenUnknown
        return identity


def digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def new_token() -> str:
    """A token of 256 random bits that any header can carry."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def entry(token: str, identity: Identity) -> str:
    """The lines of the token file for a new token."""
    name = f'name = "{identity.name}"\n' if identity.name else ""
    return (
        f'[[token]]\nsha256 = "{digest(token)}"\n'
        f'tenant = "{identity.tenant}"\nrole = "{identity.role}"\n{name}'
    )


def load_tokens(file: CredentialFile) -> Reloaded[Tokens]:
    """The tokens of a file, as of its latest valid state. Raises CredentialsInvalid if it is invalid now."""
    return Reloaded([file], lambda: parse(file))


def parse(file: CredentialFile) -> Tokens:
    """Raises CredentialsInvalid, which never quotes the digest: it may be a token put there by mistake."""
    try:
        content = tomllib.loads(file.text())
    except tomllib.TOMLDecodeError as error:
        raise file.invalid(f"is not TOML: {error}") from None
    entries = content.pop("token", [])
    if content:
        raise file.invalid(f"has an unknown key {next(iter(content))!r}: its entries are [[token]]")
    if not isinstance(entries, list) or not entries:
        raise file.invalid("holds no [[token]] entry")
    by_digest: dict[str, Identity] = {}
    for number, item in enumerate(entries, 1):
        try:
            key, identity = _parse_entry(item)
            if key in by_digest:
                raise ValueError("has the sha256 of an earlier entry")
        except ValueError as problem:
            raise file.invalid(f"entry {number} {problem}") from None
        by_digest[key] = identity
    return Tokens(by_digest)


def _parse_entry(item: Any) -> tuple[str, Identity]:
    """Raises ValueError with the problem."""
    if not isinstance(item, dict):
        raise ValueError("is not a table")
    if unknown := item.keys() - _FIELDS:
        raise ValueError(f"has an unknown key {min(unknown)!r}")
    if others := sorted(field for field, value in item.items() if not isinstance(value, str)):
        raise ValueError(f"has a {others[0]} that is not a string")
    if not _DIGEST.fullmatch(item.get("sha256", "")):
        raise ValueError("has no sha256 of 64 lower-case hex digits: `fovea token new` prints an entry")
    tenant, role, name = (item.get(field, "") for field in ("tenant", "role", "name"))
    return item["sha256"], checked_identity(tenant, role, name)


def checked_identity(tenant: str, role: str, name: str) -> Identity:
    """Raises ValueError with the problem. A name must be fit for a log line and for TOML."""
    if not TENANT.fullmatch(tenant):
        raise ValueError("has no tenant of 1 to 64 letters, digits, dots, dashes or underscores")
    if role not in list(Role):
        raise ValueError(f"has no role; roles are {', '.join(Role)}")
    if len(name) > NAME_CHARACTERS or not name.isprintable() or '"' in name or "\\" in name:
        raise ValueError(f"has a name other than {NAME_CHARACTERS} printable characters without quotes")
    return Identity(tenant, Role(role), name)
