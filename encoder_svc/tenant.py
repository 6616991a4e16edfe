"""The tenant of a call, as the keys of uploads and rows know it.

The name comes from the caller's identity, never from a field of a request. `service` reads it once and passes
it down, because a shared computation runs in the context of the call that started it.
"""

from __future__ import annotations

from dataclasses import dataclass

from encoder_svc.store.keys import pool_id, tenant_id


@dataclass(frozen=True)
class Tenant:
    """Key prefixes of a tenant. `rows` differs from `uploads` only if tenants share their rows."""

    name: str
    uploads: bytes
    rows: bytes

    @classmethod
    def of(cls, name: str, shares_rows: bool = False) -> Tenant:
        own = tenant_id(name)
        return cls(name, own, pool_id() if shares_rows else own)

    @property
    def shares_rows(self) -> bool:
        return self.rows != self.uploads
