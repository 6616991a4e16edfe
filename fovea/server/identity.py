"""Who makes a call: the tenant and role of its bearer token, and the calls that each role may make.

The tenant comes from the token, never from a field of a request. Only a caller of role `service`, such as a
decoder that calls its encoders, may name the tenant it acts for, in the metadata `fovea-tenant`. Independent
of gRPC's servers; `fovea.server.access` reads the metadata of a call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from fovea.contract.errors import InvalidArgument, RoleNotAllowed

DEFAULT_TENANT = "default"
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_tenant(name: str) -> str:
    """The name of a tenant in a request of an operator."""
    if not TENANT.fullmatch(name):
        what = "must have 1 to 64 letters, digits, dots, dashes or underscores"
        raise InvalidArgument.of_field("tenant", what)
    return name


class Role(StrEnum):
    """What a token is for. An operator may make every call."""

    USER = "user"
    SERVICE = "service"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Identity:
    """The caller of an RPC. `name` is the token's, for the log."""

    tenant: str
    role: Role
    name: str = ""

    @property
    def log_fields(self) -> dict[str, str]:
        """For the log lines of a call; empty for a server without tokens."""
        if self is TRUSTED:
            return {}
        fields = {"tenant": self.tenant, "role": self.role.value}
        return {**fields, "token": self.name} if self.name else fields

    def check_allowed(self, method: str) -> None:
        """Raises RoleNotAllowed if the role may not call `method`, such as `/fovea.x.v1.XService/Call`."""
        if self.role is not Role.OPERATOR and self.role not in ROLES.get(method, ()):
            raise RoleNotAllowed(self.role, method)


TRUSTED = Identity(DEFAULT_TENANT, Role.OPERATOR)
"""Every caller of a server without tokens."""

_DECODER, _ENCODER = "/fovea.decoder.v1.DecoderService", "/fovea.encoder.v1.EncoderService"
_USAGE = "/fovea.decoder.v1.UsageService"
_BOTH = frozenset({Role.USER, Role.SERVICE})
_SERVICE = frozenset({Role.SERVICE})

ROLES: Mapping[str, frozenset[Role]] = {
    f"{_DECODER}/PutImage": _BOTH,
    f"{_DECODER}/DescribeImage": _BOTH,
    f"{_DECODER}/Generate": _BOTH,
    f"{_DECODER}/Complete": _BOTH,
    f"{_DECODER}/CountTokens": _BOTH,
    f"{_DECODER}/GetServerInfo": _BOTH,
    f"{_DECODER}/DeleteImage": _BOTH,
    f"{_DECODER}/PurgeTenant": frozenset(),
    f"{_USAGE}/SummarizeUsage": _BOTH,
    f"{_USAGE}/ListUsage": _BOTH,
    f"{_USAGE}/GetUsage": _BOTH,
    f"{_USAGE}/ListAnomalies": _BOTH,
    f"{_ENCODER}/PutImage": _BOTH,
    f"{_ENCODER}/DescribeImage": _BOTH,
    f"{_ENCODER}/CountTokens": _BOTH,
    f"{_ENCODER}/GetServerInfo": _BOTH,
    f"{_ENCODER}/Encode": _SERVICE,
    f"{_ENCODER}/PlaceRows": _SERVICE,
    f"{_ENCODER}/LeaseRows": _SERVICE,
    f"{_ENCODER}/ReleaseRows": _SERVICE,
    f"{_ENCODER}/ReadText": _SERVICE,
    f"{_ENCODER}/DeleteImage": _SERVICE,
    f"{_ENCODER}/PurgeTenant": _SERVICE,
    f"{_ENCODER}/GetCacheStats": frozenset(),
}
"""The roles below operator that may call each method. A method that is missing here is for operators."""

_identity: ContextVar[Identity] = ContextVar("identity", default=TRUSTED)


def current_identity() -> Identity:
    """The caller of the RPC that runs in this task."""
    return _identity.get()


def set_identity(identity: Identity) -> None:
    """Set the caller of this task and of the tasks that it starts."""
    _identity.set(identity)
