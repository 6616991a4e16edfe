"""The settings of the ledger, a part of the decoder's."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from fovea.server.settings import AccessSettings


class LedgerSettings(AccessSettings):
    """Where the ledger is kept, and its bounds."""

    ledger: bool = Field(True, description="Keep a record of every request")
    ledger_dir: Path = Field(
        Path("var/decoder"), description="Folder of the ledger's SQLite file, on a local disk"
    )
    ledger_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://... of a ledger that several decoders share, instead of the file;"
        " needs the extra `postgres`",
    )
    ledger_days: int = Field(90, ge=1, description="Days after which records are deleted")
    ledger_max_records: int = Field(
        1_000_000, ge=1, description="Records above which the oldest are deleted; each takes about 1 KiB"
    )
    ledger_queue: int = Field(
        10_000, ge=1, description="Records that may wait for the database; more are dropped and counted"
    )

    quota_tokens_per_day: int = Field(
        0, ge=0, description="Tokens of prompts and answers that a tenant may use in a UTC day; 0 is no bound"
    )
    quota_amount_per_day: float = Field(
        0.0, ge=0, description="Price that a tenant may spend in a UTC day, by the tariff; 0 is no bound"
    )
    quota_warn_share: float = Field(0.8, gt=0, le=1, description="Share of a quota from which on to warn")
    quota_file: Path | None = Field(
        None,
        description="TOML file of tenants' own quotas: a table each, with tokens_per_day and amount_per_day",
    )

    quote_s: float = Field(300.0, gt=0, description="Seconds that a quote of CountTokens is valid")
    quote_key_file: Path | None = Field(
        None, description="File of the key that signs quotes, shared by decoders; by default each has its own"
    )

    @field_validator("ledger_url")
    @classmethod
    def _postgresql(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith("postgresql://"):
            raise ValueError("does not begin with postgresql://")
        return value

    @model_validator(mode="after")
    def _quotas_need_a_ledger(self) -> LedgerSettings:
        if self.has_quotas and not self.ledger:
            raise ValueError("quotas need the ledger, and ledger is false")
        return self

    @property
    def has_quotas(self) -> bool:
        return bool(self.quota_tokens_per_day or self.quota_amount_per_day or self.quota_file)
