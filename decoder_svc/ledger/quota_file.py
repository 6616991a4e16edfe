"""The TOML file of tenants with a quota of their own; read anew when it changes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from decoder_svc.ledger.spending import Quota
from fovea.access.files import CredentialFile, Reloaded

FIELDS: Mapping[str, tuple[type, ...]] = {"tokens_per_day": (int,), "amount_per_day": (int, float)}


class QuotaTable:
    """The quota of each tenant: that of the file if it names the tenant, else the default."""

    def __init__(self, default: Quota, file: CredentialFile | None) -> None:
        """Raises CredentialsInvalid, which names file and entry."""
        self._default = default
        self._own = Reloaded([file], lambda: _parse(file)) if file else None

    def of(self, tenant: str) -> Quota:
        return self._own.get().get(tenant, self._default) if self._own else self._default


def _parse(file: CredentialFile) -> Mapping[str, Quota]:
    try:
        entries = tomllib.loads(file.text())
    except tomllib.TOMLDecodeError as error:
        raise file.invalid(f"is not TOML: {error}") from None
    return {tenant: _quota(file, tenant, entry) for tenant, entry in entries.items()}


def _quota(file: CredentialFile, tenant: str, entry: Any) -> Quota:
    if not isinstance(entry, dict):
        raise file.invalid(f"has {tenant!r}, which is not a table")
    for name, value in entry.items():
        if name not in FIELDS:
            raise file.invalid(f"has {tenant}.{name}; known are {', '.join(FIELDS)}")
        number: Any = value
        if isinstance(value, bool) or not isinstance(value, FIELDS[name]) or number < 0:
            raise file.invalid(f"has {tenant}.{name} {value!r}, which is not a number from 0 on")
    return Quota(entry.get("tokens_per_day"), entry.get("amount_per_day"))
