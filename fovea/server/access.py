"""Who may call a server: authenticates every call but health checks, and checks its role.

Runs before a request is read, so that a caller without a token costs no more than its headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import grpc

from fovea.access.files import Reloaded
from fovea.contract.errors import InvalidArgument, TenantNotAllowed, TokenMissing
from fovea.server.identity import TENANT, TRUSTED, Identity, Role, set_identity
from fovea.server.tokens import Tokens

AUTHORIZATION = "authorization"
TENANT_KEY = "fovea-tenant"
PUBLIC = ("/grpc.health.", "/grpc.reflection.")
"""Services that need no token. Reflection describes the contract, which is public; a setting disables it."""


def is_public(method: str) -> bool:
    return method.startswith(PUBLIC)


Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Access:
    """How a server checks its callers. Without `tokens` it trusts all of them.

    `credentials` are those of TLS; None serves in plain text.
    """

    credentials: grpc.ServerCredentials | None = None
    tokens: Reloaded[Tokens] | None = None
    reflection: bool = True

    def authorize(self, method: str, metadata: Metadata) -> None:
        """Set the identity of this task's call. A refused caller is identified too, for the log.

        Raises TokenMissing, TokenUnknown, RoleNotAllowed or TenantNotAllowed.
        """
        if is_public(method):
            return
        pairs = list(metadata)
        tenant = _value(pairs, TENANT_KEY)
        if self.tokens is None:
            set_identity(_acting_for(TRUSTED, tenant))
            return
        identity = self.tokens.get().identify(_bearer(pairs))
        set_identity(identity)
        identity.check_allowed(method)
        if tenant not in ("", identity.tenant) and identity.role is not Role.SERVICE:
            raise TenantNotAllowed(identity.role)
        set_identity(_acting_for(identity, tenant))


def _acting_for(identity: Identity, tenant: str) -> Identity:
    if not tenant:
        return identity
    if not TENANT.fullmatch(tenant):
        raise InvalidArgument(f"the metadata {TENANT_KEY} is not the name of a tenant")
    return replace(identity, tenant=tenant)


def _bearer(metadata: Metadata) -> str:
    scheme, _, token = _value(metadata, AUTHORIZATION).partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenMissing
    return token.strip()


def _value(metadata: Metadata, key: str) -> str:
    """The value of a key; the empty string without one. A key that is sent twice has no certain value."""
    values = [value for name, value in metadata if name == key]
    if len(values) > 1:
        raise InvalidArgument(f"the metadata {key} is sent {len(values)} times")
    return str(values[0]) if values else ""
