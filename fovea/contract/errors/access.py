"""Calls refused for want of a credential, and credentials that cannot be used."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import TemplatedError
from fovea.contract.errors.request import InvalidArgument


class TokenMissing(TemplatedError, code=StatusCode.UNAUTHENTICATED, reason="TOKEN_MISSING"):
    """The server requires a bearer token, and the call has none."""

    text = "this server requires a token: send `authorization: Bearer TOKEN` with every call"


class TokenUnknown(TemplatedError, code=StatusCode.UNAUTHENTICATED, reason="TOKEN_UNKNOWN"):
    """The bearer token is not in the server's token file, or no longer."""

    text = "this server does not know the token of the call"


class RoleNotAllowed(TemplatedError, code=StatusCode.PERMISSION_DENIED, reason="ROLE_NOT_ALLOWED"):
    """The token's role may not make this call."""

    text = "a token of role {role} may not call {method}"
    role: str
    method: str


class TenantNotAllowed(TemplatedError, code=StatusCode.PERMISSION_DENIED, reason="TENANT_NOT_ALLOWED"):
    """The call names another tenant than its token's, and its role is not `service`."""

    text = "a token of role {role} may not act for another tenant"
    role: str


class CredentialsInvalid(InvalidArgument):
    """A certificate, key or token that cannot be used. The message names its setting."""
