"""Calls refused for want of a credential, and credentials that cannot be used."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError
from fovea.contract.errors.request import InvalidArgument


class TokenMissing(FoveaError):
    """The server requires a bearer token, and the call has none."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "TOKEN_MISSING"

    def __init__(self) -> None:
        super().__init__("this server requires a token: send `authorization: Bearer TOKEN` with every call")


class TokenUnknown(FoveaError):
    """The bearer token is not in the server's token file, or no longer."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "TOKEN_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("this server does not know the token of the call")


class RoleNotAllowed(FoveaError):
    """The token's role may not make this call."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "ROLE_NOT_ALLOWED"

    def __init__(self, role: str, method: str) -> None:
        super().__init__(f"a token of role {role} may not call {method}", role=role, method=method)


class TenantNotAllowed(FoveaError):
    """The call names another tenant than its token's, and its role is not `service`."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "TENANT_NOT_ALLOWED"

    def __init__(self, role: str) -> None:
        super().__init__(f"a token of role {role} may not act for another tenant", role=role)


class CredentialsInvalid(InvalidArgument):
    """A certificate, key or token that cannot be used. The message names its setting."""
