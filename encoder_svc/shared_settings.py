"""The settings of the second level of rows, a part of the encoder's."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from fovea.server.settings import AccessSettings

MIB = 1024 * 1024
SCHEMES = ("valkey://", "valkeys://", "redis://", "rediss://")


class SharedSettings(AccessSettings):
    """Where several encoders share rows, and its bounds."""

    shared_cache: SecretStr = Field(
        SecretStr(""),
        description="valkey://user:password@host:port of a Valkey or Redis in which several encoders share"
        " rows, valkeys:// with TLS; several URLs with commas are nodes of one cluster; needs the extra"
        " `valkey`",
    )
    shared_cache_timeout_ms: float = Field(
        500.0, gt=0, description="How long a read may wait for the shared cache, in milliseconds"
    )
    shared_cache_write_timeout_ms: float = Field(
        5_000.0, gt=0, description="How long a write or a deletion there may take, in milliseconds"
    )
    shared_cache_rest_s: float = Field(
        5.0, ge=0, description="Seconds without calls of a server of the shared cache that has not answered"
    )
    shared_cache_ttl_s: int = Field(
        604_800, ge=0, description="Seconds that rows are kept there after their last write; 0 is no bound"
    )
    shared_cache_queue_bytes: int = Field(
        256 * MIB, ge=MIB, description="Bytes of rows that may wait to be written there; more are dropped"
    )
    shared_cache_connections: int = Field(8, ge=1, description="Calls that run on a server of it at a time")

    @field_validator("shared_cache")
    @classmethod
    def _urls(cls, value: SecretStr) -> SecretStr:
        for url in _split(value):
            if not url.startswith(SCHEMES):
                raise ValueError(f"does not begin with {' or '.join(SCHEMES)}")
        return value

    @property
    def shared_cache_urls(self) -> list[str]:
        """Empty without a shared cache."""
        return _split(self.shared_cache)


def _split(urls: SecretStr) -> list[str]:
    return [url.strip() for url in urls.get_secret_value().split(",") if url.strip()]
