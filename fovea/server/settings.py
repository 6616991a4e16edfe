"""Settings of every server: TLS, tokens, limits, liveness. Only loopback works without TLS and tokens."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from pydantic import Field, model_validator

from fovea.access.files import CredentialFile, Reloaded
from fovea.access.tls import TlsFiles
from fovea.address import is_loopback
from fovea.server.access import Access
from fovea.server.connections import ConnectionLimits
from fovea.server.guards import RequestLimits
from fovea.server.tls import server_credentials
from fovea.server.tokens import Tokens, load_tokens
from fovea.settings import ListenAddress, OptionalListenAddress, Settings


class ListenSettings(Settings):
    """Base class of the settings of any server, gRPC or HTTP: its address, TLS and tokens."""

    listen: ListenAddress
    tls_cert: Path | None = Field(None, description="PEM file of the server's certificate chain; enables TLS")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of a CA; callers must have a certificate that it signed (mTLS)"
    )
    tokens: Path | None = Field(
        None, description="TOML file of bearer tokens; see `fovea token new`. None trusts every caller"
    )
    insecure: bool = Field(
        False, description="Allow other addresses than loopback without TLS and tokens: anyone can call them"
    )

    @model_validator(mode="after")
    def _tls_files_complete(self) -> ListenSettings:
        self.require_together("tls_cert", "tls_key")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError(f"{self.named('tls_client_ca')} needs {self.named('tls_cert')}")
        return self

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> ListenSettings:
        missing = [name for name in ("tls_cert", "tls_key", "tokens") if getattr(self, name) is None]
        if missing and not self.insecure and not is_loopback(self.listen):
            raise ValueError(
                f"listen {self.listen} is open to other machines: it needs"
                f" {', '.join(map(self.named, missing))}, or {self.named('insecure')} true"
            )
        return self

    def require_together(self, *fields: str) -> None:
        """Raises ValueError if some but not all of the fields are set."""
        unset = [field for field in fields if getattr(self, field) is None]
        if 0 < len(unset) < len(fields):
            given = next(field for field in fields if field not in unset)
            raise ValueError(f"{self.named(given)} needs {self.named(unset[0])}")

    def named(self, field: str) -> str:
        """A setting as flag and variable, for errors."""
        return f"--{field.replace('_', '-')} ({self.variable(field)})"

    def credential(self, field: str) -> CredentialFile | None:
        """The file that a setting names."""
        path = getattr(self, field)
        return None if path is None else CredentialFile(path, self.named(field))

    def tls_files(self) -> TlsFiles:
        return TlsFiles(*map(self.credential, ("tls_cert", "tls_key", "tls_client_ca")))

    def accepted_tokens(self) -> Reloaded[Tokens] | None:
        """Raises CredentialsInvalid, which names the setting."""
        file = self.credential("tokens")
        return load_tokens(file) if file else None


class AccessSettings(ListenSettings):
    """Base class of a service's settings, with the fields that secure its gRPC server."""

    idle_s: int
    health_listen: OptionalListenAddress = Field(
        "",
        description="Address that serves health alone, in plain text, for probes that speak no TLS; empty for"
        " none. The address of the service answers health checks too",
    )
    shared_rows: bool = Field(
        False, description="All tenants share rows; each may then learn whether another has sent an image"
    )
    max_in_flight_bytes: int = Field(
        160 * 1024 * 1024, ge=1, description="Bytes that the requests of running calls may hold together"
    )
    max_request_fields: int = Field(
        10_000, ge=100, description="Fields of a request, with those of its submessages"
    )
    default_deadline_s: int = Field(
        600, ge=1, description="Deadline that the queue assumes for a call that has none, in seconds"
    )
    max_wait_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of the time to its deadline that a call may wait, as estimated when it arrives",
    )
    max_tenant_images: int = Field(
        0, ge=0, description="Images in the running calls of a tenant; 0 is no limit"
    )
    max_connections: int = Field(1024, ge=1, description="Connections of the server; more are closed at once")
    max_connection_streams: int = Field(256, ge=1, description="Calls that run on a connection")
    connection_idle_s: int = Field(
        600, ge=1, description="Seconds after which a connection without calls is closed"
    )
    max_metadata_bytes: int = Field(16 * 1024, ge=1024, description="Largest metadata of a call, in bytes")
    max_public_streams: int = Field(
        256, ge=1, description="Open streams of health and reflection, which need no token"
    )
    liveness_interval_s: float = Field(
        10.0, ge=0, description="Seconds between two checks that the model computes; 0 turns them off"
    )
    liveness_limit_s: float = Field(
        60.0, gt=0, description="Seconds without work done after which `liveness` is NOT_SERVING"
    )
    otel_endpoint: str = Field(
        "",
        pattern="^(https?://.+)?$",
        description="OTLP/gRPC collector of traces, such as http://localhost:4317; needs the extra `otel`. By"
        " default that of OTEL_EXPORTER_OTLP_ENDPOINT; without it, no traces",
    )
    reflection: bool = Field(True, description="Serve gRPC reflection, which describes the API to any caller")

    def request_limits(self) -> RequestLimits:
        return RequestLimits(self.idle_s, self.max_in_flight_bytes, self.max_request_fields)

    def connection_limits(self) -> ConnectionLimits:
        return ConnectionLimits(
            **{field.name: getattr(self, field.name) for field in fields(ConnectionLimits)}
        )

    def access(self) -> Access:
        """Load certificates and tokens. Raises CredentialsInvalid, which names the setting."""
        files = self.tls_files()
        return Access(
            credentials=server_credentials(files) if files.cert else None,
            tokens=self.accepted_tokens(),
            reflection=self.reflection,
        )
