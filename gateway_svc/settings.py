"""The gateway's settings: name, default and description. Flags and `FOVEA_GATEWAY_...` follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from fovea.access.channel import ClientCredentials
from fovea.access.tls import TlsFiles
from fovea.server.settings import ListenSettings
from fovea.settings import ListenAddress, OptionalListenAddress
from fovea.target import Target, targeted
from gateway_svc.hosts import HostList

MIB = 1024 * 1024


class GatewaySettings(ListenSettings):
    """The gateway's settings."""

    model_config = SettingsConfigDict(env_prefix="FOVEA_GATEWAY_", populate_by_name=True)

    listen: ListenAddress = Field(
        "127.0.0.1:8080", description="Address of the HTTP server; port 0 picks a free port"
    )
    metrics_listen: OptionalListenAddress = Field(
        "127.0.0.1:9103", description="Address of the metrics; empty for none"
    )
    decoder: str = Field(
        "127.0.0.1:50052",
        validation_alias="FOVEA_DECODER",
        description="Comma-separated addresses of decoders, or a dns:///host:port, all of whose IP addresses"
        " are decoders; requests about the same image go to the same decoder",
    )
    decoder_tls: bool = Field(False, description="Call the decoder with TLS, with the roots that gRPC brings")
    decoder_ca: Path | None = Field(
        None, description="PEM file of the CA that signed the decoder's certificate; enables TLS to it"
    )
    decoder_cert: Path | None = Field(None, description="PEM file of the gateway's certificate, for mTLS")
    decoder_key: Path | None = Field(None, description="PEM file of the private key of decoder_cert")
    decoder_server_name: str = Field(
        "", description="Name in the decoder's certificate, where it differs from its address"
    )
    hosts: str = Field(
        "",
        description="Comma-separated names under which clients call the gateway, beside its own address."
        " Without tokens, requests for any other name are refused",
    )
    page: bool = Field(True, description="Serve the page")
    timeout_s: float = Field(
        600.0, gt=0, description="Deadline of a request in seconds, and the longest that a client may set"
    )
    idle_s: int = Field(
        60, ge=1, description="Seconds that a request may wait for its client to send or read"
    )
    header_s: int = Field(10, ge=1, description="Seconds that the header of a request may take to arrive")
    max_connections: int = Field(8192, ge=1, description="Connections that are open at once")
    max_requests: int = Field(4096, ge=1, description="Requests that run at once")
    max_body_bytes: int = Field(64 * MIB, ge=1024, description="Largest body of a request, in bytes")
    max_in_flight_bytes: int = Field(
        256 * MIB, ge=1024, description="Bytes that the bodies of running requests may hold together"
    )
    image_hosts: str = Field(
        "",
        description="Comma-separated hosts from which images are fetched by URL, such as"
        " images.example.com,*.example.org,cdn.example.net:8443; empty refuses every URL",
    )
    max_fetch_bytes: int = Field(32 * MIB, ge=1, description="Largest image fetched by URL, in bytes")
    max_fetch_s: float = Field(10.0, gt=0, description="Seconds that fetching an image may take")
    max_fetch_redirects: int = Field(3, ge=0, description="Redirects that fetching an image may follow")
    grace_s: float = Field(30.0, ge=0, description="Seconds that running requests may take after SIGTERM")
    log_form: Literal["console", "json"] = Field("console", description="Logs for people or for machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged")

    @field_validator("decoder")
    @classmethod
    def _callable(cls, value: str) -> str:
        return targeted(value)

    @field_validator("image_hosts", "hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        HostList.parse(value)
        return value

    @model_validator(mode="after")
    def _tokens_stay_secret(self) -> GatewaySettings:
        """The gateway passes its callers' tokens on."""
        self.require_together("decoder_cert", "decoder_key")
        if not self.secure_decoder and not self.insecure and not Target.parse(self.decoder).is_local:
            raise ValueError(
                f"decoder {self.decoder} is on another machine, which needs {self.named('decoder_ca')} or"
                f" {self.named('decoder_tls')}, or {self.named('insecure')} true"
            )
        return self

    @property
    def secure_decoder(self) -> bool:
        """Whether the decoder is called with TLS."""
        return self.decoder_tls or bool(self.decoder_ca or self.decoder_cert or self.decoder_server_name)

    def decoder_credentials(self) -> ClientCredentials:
        """Raises CredentialsInvalid, which names the setting."""
        if not self.secure_decoder:
            return ClientCredentials()
        files = TlsFiles(*map(self.credential, ("decoder_cert", "decoder_key", "decoder_ca")))
        return ClientCredentials(files, server_name=self.decoder_server_name)
