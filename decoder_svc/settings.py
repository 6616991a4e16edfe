"""The decoder's settings: name, default and description. Flags and `FOVEA_DECODER_...` follow from them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.tariff import Tariff
from decoder_svc.engine.protocol import EngineLimits, Quantization
from decoder_svc.ledger_settings import LedgerSettings
from fovea.access.channel import ClientCredentials
from fovea.access.tls import TlsFiles
from fovea.contract.budget import DEFAULT_REDUCER, Detail, OnOverBudget, ReductionMode, RepeatPolicy
from fovea.contract.plan import MAX_FLAT_TOLERANCE, Reducer
from fovea.dns import DnsName
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry
from fovea.machine import named_devices, pick_devices
from fovea.planning.detail import READABLE_TEXT_PX
from fovea.server.connections import ConnectionLimits
from fovea.settings import MAX_MESSAGE_BYTES, MAX_THREADS, ListenAddress, OptionalListenAddress
from fovea.target import Target, targeted

KIB, MIB = 1024, 1024 * 1024
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
# Pairs of settings (smaller, larger); 0 for the larger means no bound.
_NOT_ABOVE = (
    ("max_new_tokens", "max_context"),
    ("default_max_new_tokens", "max_new_tokens"),
    ("min_tokens", "max_visual_tokens"),
    ("max_short_side", "max_long_side"),
    ("max_context", "kv_tokens"),
)


@dataclass(frozen=True, kw_only=True)
class DecoderLimits(EngineLimits, ConnectionLimits):
    """The limits of a decoder, as GetServerInfo reports them: those of the engine, and the service's own."""

    max_message_bytes: int
    max_in_flight_bytes: int
    max_request_fields: int
    default_max_new_tokens: int
    max_images: int
    max_tools: int
    max_tool_bytes: int
    default_max_pixels: int
    max_pixels: int
    min_pixels: int
    max_running: int
    max_image_bytes: int
    row_cache_bytes: int
    row_cache_s: int
    idle_s: int
    encoder_timeout_s: int
    default_deadline_s: int = 600
    max_wait_share: float = 0.25
    max_waiting_tokens: int = 2**20
    max_preparing: int = 16
    max_tenant_requests: int = 0
    max_tenant_images: int = 0


class DecoderSettings(LedgerSettings):
    """The decoder's settings."""

    model_config = SettingsConfigDict(env_prefix="FOVEA_DECODER_", populate_by_name=True)

    model: Path = Field(description="Checkpoint folder: dense or MoE Qwen3-VL in the published layout")
    served_model_name: str = Field("", description="Name on receipts; empty takes the folder's name")
    encoders: str = Field(
        "127.0.0.1:50051",
        validation_alias="FOVEA_ENCODERS",
        description="Comma-separated addresses of the encoders, where a host name counts as a single encoder."
        " Or a dns:///host:port, all of whose IP addresses are encoders, including later ones",
    )
    encoder_ca: Path | None = Field(
        None, description="PEM file of the CA that signed the encoders' certificates; enables TLS to them"
    )
    encoder_cert: Path | None = Field(None, description="PEM file of this decoder's certificate, for mTLS")
    encoder_key: Path | None = Field(None, description="PEM file of the private key of encoder_cert")
    encoder_token_file: Path | None = Field(
        None, description="File of the bearer token for the encoders; its role must be service"
    )
    encoder_timeout_s: int = Field(
        20,
        ge=1,
        description="Seconds without progress after which a call to an encoder fails; up to ten times as long"
        " while the encoder completes other images",
    )
    encoder_check_s: float = Field(
        5.0, gt=0, description="Seconds between checks whether the encoders answer and serve this model"
    )
    upload_copies: int = Field(
        2, ge=1, description="Encoders that store each upload, so that a call by id survives the loss of one"
    )
    ready_without_encoders: bool = Field(
        False,
        description="Report ready while no encoder fits: text and images whose rows are here are served",
    )
    resolve_s: float = Field(5.0, gt=0, description="Seconds between lookups of the encoders' dns:/// name")
    fingerprint: str = Field(
        "", description="Expected fingerprint of rows, if the folder has no vision tensors"
    )
    tiers: Path | None = Field(
        None,
        description="TOML file of the tiers that answer requests, in order; without it only the model does",
    )
    listen: ListenAddress = Field(
        "127.0.0.1:50052", description="Address of the gRPC server; port 0 picks a free port"
    )
    metrics_listen: OptionalListenAddress = Field(
        "127.0.0.1:9102", description="Address of the metrics; empty for none"
    )
    metrics_tenants: int = Field(
        100, ge=0, description="Tenants with metrics of their own; later ones share the label _other"
    )
    engine: Literal["native", "vllm"] = Field(
        "native", description="Engine that runs the language model; vllm needs its own environment"
    )
    device: str = Field("auto", description="Where the model runs: auto, cpu, cuda, cuda:0,cuda:1, ...")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic of the model; auto is bf16 on CUDA and fp32 elsewhere"
    )
    threads: int = Field(
        0, ge=0, le=MAX_THREADS, description="CPU threads of the model; 0 leaves it to torch"
    )
    max_context: int = Field(8192, ge=64, description="Tokens of prompt and answer together")
    max_new_tokens: int = Field(512, ge=1, description="Largest max_new_tokens of a request")
    default_max_new_tokens: int = Field(256, ge=1, description="max_new_tokens of a request that sets none")
    max_images: int = Field(32, ge=1, description="Images of a request")
    max_pixels: int = Field(
        DEFAULT_MAX_PIXELS,
        ge=1,
        description="Images are shrunk to this many pixels if the request sets no max_pixels",
    )
    max_visual_tokens: int = Field(
        0, ge=0, description="Visual tokens of a request that sets no budget; 0 is no bound"
    )
    detail: Detail = Field(Detail.HIGH, description="Detail to which images are read: low, auto, high")
    min_detail: Detail = Field(Detail.HIGH, description="Detail below which load never lowers an image")
    readable_text_px: float = Field(
        READABLE_TEXT_PX,
        gt=0,
        description="Pixel height of the smallest text after resizing with detail auto",
    )
    min_tokens: int = Field(0, ge=0, description="Fewest tokens to which max_visual_tokens shrinks an image")
    max_short_side: int = Field(0, ge=0, description="Largest shorter side of an image; 0 is no bound")
    max_long_side: int = Field(0, ge=0, description="Largest longer side of an image; 0 is no bound")
    reduction: ReductionMode = Field(
        ReductionMode.OFF, description="Tokens kept: off is all, economy 75 %, strong 50 %, auto"
    )
    keep: float = Field(1.0, gt=0, le=1, description="Share of visual tokens to keep; excludes reduction")
    reducer: Reducer = Field(
        DEFAULT_REDUCER,
        description="Selects kept tokens: scope, divprune, stride, random; resize shrinks the image",
    )
    flat_tolerance: int = Field(
        -1,
        ge=-1,
        le=MAX_FLAT_TOLERANCE,
        description="Patch groups whose colours differ by at most this are not encoded; -1 encodes all",
    )
    on_over_budget: OnOverBudget = Field(
        OnOverBudget.FIT, description="For images above max_visual_tokens: fit shrinks, refuse fails"
    )
    repeat_policy: RepeatPolicy = Field(
        RepeatPolicy.KEEP,
        description="Repeats of an image: keep their tokens, or a reference in the text",
    )
    pressure_queue: float = Field(
        0.5, gt=0, le=1, description="Share of max_waiting at which detail is lowered; 1 is never"
    )
    pressure_kv: float = Field(
        0.9, gt=0, le=1, description="Share of the KV cache at which detail is lowered; 1 is never"
    )
    price_currency: str = Field("", description="Currency of the prices, such as EUR; empty sets no price")
    price_per_million_text_tokens: float = Field(0.0, ge=0, description="Price of text tokens of prompts")
    price_per_million_visual_tokens: float = Field(0.0, ge=0, description="Price of visual tokens")
    price_per_million_output_tokens: float = Field(0.0, ge=0, description="Price of tokens of answers")
    price_per_million_cached_tokens: float = Field(
        0.0, ge=0, description="Price of prompt tokens from the KV cache, instead of their usual price"
    )
    price_per_million_patches: float = Field(0.0, ge=0, description="Price of 16x16 patches encoded")
    max_running: int = Field(
        0,
        ge=0,
        description="Requests computed concurrently; 0 is 64 on a GPU and 16 on a CPU, where more are"
        " no faster together and each takes longer",
    )
    max_waiting: int = Field(256, ge=1, description="Requests that may wait")
    max_waiting_tokens: int = Field(
        2**20, ge=0, description="Estimated tokens of waiting requests, prompts and answers; 0 is no limit"
    )
    max_preparing: int = Field(
        16, ge=1, description="Requests that prepare or prefill concurrently; images are encoded meanwhile"
    )
    max_tenant_requests: int = Field(0, ge=0, description="Concurrent requests of a tenant; 0 is no limit")
    prefill_chunk: int = Field(512, ge=1, description="Prompt tokens per step")
    quantization: str = Field(
        "none",
        description="Weight quantization: none, int8 (native; halves projections and experts), or any method"
        " that vllm supports, such as fp8",
    )
    prefix_cache: bool = Field(True, description="Reuse KV blocks of prompts with an equal prefix")
    overlap: bool = Field(
        True, description="native: prefill a prompt while the rows of its later images are in transfer"
    )
    kv_tokens: int = Field(
        0,
        ge=0,
        description="Tokens of the KV cache; 0 takes most of the free memory of a GPU. On a CPU, 0 is 32,768"
        " or, with the native engine, as many as fit 256 MiB if that is more",
    )
    row_cache_bytes: int = Field(
        0, ge=0, description="Capacity of the in-process row cache, in bytes; 0 disables it"
    )
    same_host: bool = Field(True, description="Read rows of encoders on this host from shared memory")
    check_rows_digest: bool = Field(
        False, description="Compute the SHA-256 of all received rows, and refuse rows that have another"
    )
    row_cache_s: int = Field(
        600, ge=1, description="Longest age of cached rows, in seconds: deleting an image does not evict them"
    )
    tensor_parallel: int = Field(1, ge=1, description="vllm: GPUs that share each layer")
    pipeline_parallel: int = Field(1, ge=1, description="vllm: groups of GPUs that share the layers")
    distributed_backend: Literal["mp", "ray"] = Field(
        "mp", description="vllm: starts a process per GPU: mp on this host, ray on a Ray cluster"
    )
    gpu_memory_utilization: float = Field(
        0.9, gt=0, le=1, description="vllm: share of a GPU's memory for weights and KV cache"
    )
    enforce_eager: bool = Field(False, description="vllm: compile nothing; starts faster, runs slower")
    delta_interval_ms: float = Field(
        20.0,
        ge=0,
        description="native: shortest time between deltas, except the first and last; 0 flushes every token",
    )
    max_stop_strings: int = Field(16, ge=0, description="Stop strings of a request")
    max_format_bytes: int = Field(64 * KIB, ge=1, description="Largest response_format, in bytes")
    max_format_s: float = Field(2.0, gt=0, description="Seconds of CPU to compile a response_format")
    max_format_memory_bytes: int = Field(
        64 * MIB, ge=MIB, description="Memory to compile a response_format, in bytes"
    )
    format_workers: int = Field(
        2, ge=1, description="response_formats compiled concurrently, each in its own process"
    )
    max_tools: int = Field(128, ge=0, description="Tools of a request")
    max_tool_bytes: int = Field(
        128 * KIB, ge=0, description="Names, descriptions and schemas of a request's tools, in bytes"
    )
    max_message_bytes: int = Field(
        32 * MIB, ge=MIB, le=MAX_MESSAGE_BYTES, description="Largest message received, in bytes"
    )
    max_image_bytes: int = Field(32 * MIB, ge=1, description="Largest file, in bytes")
    idle_s: int = Field(
        60, ge=1, description="Seconds that a call may wait for its client to send or read a message"
    )
    grace_s: float = Field(30.0, ge=0, description="Seconds that running calls may take after SIGTERM")
    log_form: Literal["console", "json"] = Field("console", description="Logs for people or for machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged")

    @field_validator("encoders")
    @classmethod
    def _some_encoder(cls, value: str) -> str:
        return targeted(value)

    @field_validator("fingerprint")
    @classmethod
    def _whole_fingerprint(cls, value: str) -> str:
        if value and not _FINGERPRINT.fullmatch(value):
            raise ValueError(f"{value!r} is not sha256: and 64 hex digits")
        return value

    @field_validator("device")
    @classmethod
    def _known_devices(cls, value: str) -> str:
        return named_devices(value)

    @model_validator(mode="after")
    def _limits_agree(self) -> DecoderSettings:
        """Compare only limits that were set explicitly; a default gives way."""
        for smaller, larger in _NOT_ABOVE:
            low, high = getattr(self, smaller), getattr(self, larger)
            if self.was_set(smaller) and high and low > high:
                raise ValueError(f"{smaller} {low} is more than {larger} {high}")
        return self

    @model_validator(mode="after")
    def _prices_have_a_currency(self) -> DecoderSettings:
        priced = [
            name for name in type(self).model_fields if name.startswith("price_per_") and getattr(self, name)
        ]
        if priced and not self.price_currency:
            raise ValueError(f"{priced[0]} needs a price_currency")
        return self

    @model_validator(mode="after")
    def _known_to_the_engine(self) -> DecoderSettings:
        known = get_args(Quantization)
        if self.engine == "native" and self.quantization not in known:
            raise ValueError(f"quantization {self.quantization}: native has {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _keep_or_reduction(self) -> DecoderSettings:
        if self.reduction is not ReductionMode.OFF and self.keep < 1:
            raise ValueError("keep and reduction exclude each other")
        return self

    def named_in(self, kind: type) -> dict[str, Any]:
        """The settings that a dataclass has as fields."""
        names = type(self).model_fields.keys() & {field.name for field in fields(kind)}
        values = {name: getattr(self, name) for name in names}
        if "max_running" in values:
            on_cpu = pick_devices(self.device)[0] == "cpu"
            values["max_running"] = self.max_running or (16 if on_cpu else 64)
        return values

    def limits(self, geometry: Geometry) -> DecoderLimits:
        """The settings of the same names, within the limits of the checkpoint."""
        chosen = self.named_in(DecoderLimits)
        chosen["default_max_new_tokens"] = min(self.default_max_new_tokens, self.max_new_tokens)
        chosen["default_max_pixels"] = geometry.within(self.max_pixels)
        chosen |= {"max_pixels": geometry.max_pixels, "min_pixels": geometry.min_pixels}
        return DecoderLimits(**chosen)

    @model_validator(mode="after")
    def _encoder_credentials_fit(self) -> DecoderSettings:
        self.require_together("encoder_cert", "encoder_key")
        if self.encoder_cert and not self.encoder_ca:
            raise ValueError(f"{self.named('encoder_cert')} needs {self.named('encoder_ca')}")
        local = Target.parse(self.encoders).is_local
        if self.encoder_token_file and not (self.encoder_ca or local or self.insecure):
            raise ValueError(
                f"{self.named('encoder_token_file')} would be sent unencrypted: it needs"
                f" {self.named('encoder_ca')}, or {self.named('insecure')} true"
            )
        return self

    def encoder_credentials(self) -> ClientCredentials:
        """Load the files. Raises CredentialsInvalid, which names the setting.

        The addresses of a DNS name are IP addresses; the encoders' certificates are for the name.
        """
        files = TlsFiles(*map(self.credential, ("encoder_cert", "encoder_key", "encoder_ca")))
        return ClientCredentials(
            files if files.ca else None,
            self.credential("encoder_token_file"),
            self.encoder_name.host if self.encoder_name else "",
        )

    def budget(self, max_pixels: int) -> ServerBudget:
        """The budget for fields that a request leaves unset, from the settings of the same names."""
        chosen: dict[str, Any] = {name: value or None for name, value in self.named_in(ServerBudget).items()}
        if self.reduction is ReductionMode.OFF and self.keep < 1:
            chosen["reduction"] = None
        else:
            chosen["keep"] = None
        tolerance = self.flat_tolerance if self.flat_tolerance >= 0 else None
        return ServerBudget(**chosen | {"max_pixels": max_pixels, "flat_tolerance": tolerance})

    @property
    def tariff(self) -> Tariff:
        return Tariff(
            self.price_currency,
            self.price_per_million_text_tokens,
            self.price_per_million_visual_tokens,
            self.price_per_million_output_tokens,
            self.price_per_million_cached_tokens,
            self.price_per_million_patches,
        )

    @property
    def encoder_name(self) -> DnsName | None:
        """The DNS name of the encoders; None if addresses are listed."""
        return Target.parse(self.encoders).name

    @property
    def encoder_addresses(self) -> list[str]:
        """The listed encoders; empty if a DNS name is given."""
        return list(Target.parse(self.encoders).addresses)

    @property
    def model_title(self) -> str:
        return self.served_model_name or self.model.resolve().name
