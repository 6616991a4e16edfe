"""Every setting of the encoder: name, default, description. Flags and `FOVEA_ENCODER_...` derive from it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from encoder_svc.shared_settings import SharedSettings
from encoder_svc.store.core import StoreLimits
from fovea.geometry import DEFAULT_MAX_PIXELS
from fovea.machine import named_devices, pick_devices
from fovea.settings import MAX_MESSAGE_BYTES, MAX_THREADS, ListenAddress, OptionalListenAddress

MIB = 1024 * 1024


class EncoderSettings(SharedSettings):
    """The encoder's settings."""

    model_config = SettingsConfigDict(env_prefix="FOVEA_ENCODER_")

    model: Path = Field(description="Checkpoint folder: dense or MoE Qwen3-VL in the published layout")
    served_model_name: str = Field("", description="Name on receipts; empty takes the folder's name")
    name: str = Field("encoder-0", description="Name on receipts")
    listen: ListenAddress = Field(
        "127.0.0.1:50051", description="Address of the gRPC server; port 0 picks one"
    )
    metrics_listen: OptionalListenAddress = Field(
        "127.0.0.1:9101", description="Address of the metrics; empty for none"
    )
    cache_dir: Path = Field(Path("var/encoder"), description="Folder of the store, on a local disk")
    cache_bytes: int = Field(4096 * MIB, ge=0, description="Bound of the rows kept, in bytes; 0 keeps none")
    uploads_bytes: int = Field(1024 * MIB, ge=MIB, description="Bound of the images kept, in bytes")
    tenant_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of cache_bytes and of uploads_bytes that one tenant may fill, after which it loses"
        " its own least recently used records first; 0 is no limit",
    )
    store_check_s: float = Field(
        600.0,
        ge=0,
        description="Seconds between checks of the store's file; 0 checks it at start only",
    )
    compaction_s: float = Field(
        300.0, ge=0, description="Seconds at least between rewrites of the store's file after deletions"
    )
    arena_bytes: int = Field(
        0, ge=0, description="Bytes of shared memory in which decoders on this host find rows; 0 is none"
    )
    arena_lease_s: int = Field(30, ge=1, description="Seconds that a decoder may read rows there")
    upload_ttl_s: int = Field(86_400, ge=1, description="Seconds an image is kept after its upload")
    device: str = Field("auto", description="Where the tower runs: auto, cpu, cuda, cuda:1, ...")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic of the tower; auto is bf16 on CUDA and fp32 elsewhere"
    )
    row_dtype: Literal["bf16", "fp16", "fp32", "fp8", "int8"] = Field(
        "bf16", description="How rows rest and travel; fp8 and int8 take half of the bytes, and are rounded"
    )
    threads: int = Field(
        0, ge=0, le=MAX_THREADS, description="CPU threads of the tower; 0 leaves it to torch"
    )
    max_pixels: int = Field(
        DEFAULT_MAX_PIXELS, ge=1, description="An image is shrunk to this many pixels where a plan names none"
    )
    max_batch_patches: int = Field(
        0,
        ge=0,
        description="Patches of one tower call; a larger image goes alone. 0 is 16,384 on a GPU and 1,024 on"
        " a CPU, where larger calls are no faster and the rows of the first image would wait for the last",
    )
    max_batch_wait_ms: float = Field(2.0, ge=0, description="How long a batch waits for company")
    max_wait_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the time to its deadline that an image may wait, as estimated when it arrives",
    )
    max_queue: int = Field(256, ge=1, description="Images that may wait for the tower")
    max_message_bytes: int = Field(
        32 * MIB, ge=MIB, le=MAX_MESSAGE_BYTES, description="Largest message received, in bytes"
    )
    max_image_bytes: int = Field(32 * MIB, ge=1, description="Largest file, in bytes")
    max_image_pixels: int = Field(25_000_000, ge=1, description="Most pixels of a file, before shrinking")
    max_image_side: int = Field(16_384, ge=1, description="Longest side of a file, in pixels")
    max_image_aspect: int = Field(200, ge=1, le=200, description="Longest side over the shortest")
    max_jpeg_scans: int = Field(100, ge=1, description="Most scans of a JPEG; 16 if it has max_image_pixels")
    decode_workers: int = Field(
        4,
        ge=1,
        le=MAX_THREADS,
        description="Images decoded at a time, each in a process of its own; with tokens, no tenant has all",
    )
    max_decode_s: float = Field(10.0, gt=0, description="Seconds of CPU that decoding an image may take")
    max_decode_memory_bytes: int = Field(
        1024 * MIB, ge=MIB, description="Bytes of memory that decoding an image may take"
    )
    text_reader: Literal["rapidocr", "tesseract", "off"] = Field(
        "rapidocr",
        description="Reads the text of images: rapidocr (extra `ocr`), tesseract (the command), off",
    )
    text_on_put: bool = Field(
        False, description="Read the text of each uploaded image of kind text in the background"
    )
    text_workers: int = Field(
        1,
        ge=1,
        le=MAX_THREADS,
        description="Images whose text is read at a time, each in a process of its own",
    )
    max_text_s: float = Field(
        20.0, gt=0, description="Seconds of CPU that reading the text of an image may take"
    )
    max_text_memory_bytes: int = Field(
        2048 * MIB, ge=MIB, description="Bytes of memory that reading the text of an image may take"
    )
    max_text_bytes: int = Field(64 * 1024, ge=1, le=MIB, description="Most bytes of text of an image")
    max_text_queue: int = Field(
        32, ge=1, description="Images that may wait to be read; a tenant has half of them"
    )
    gate: Literal["rules", "learned"] = Field(
        "rules",
        description="What decides the kind of an image: rules on edges and colours, or a small network, which"
        " needs the extra `gate` (onnxruntime); without it, rules decide",
    )
    gate_confidence: float = Field(
        0.5, ge=0, le=1, description="Confidence of the network below which rules decide"
    )
    decode_threads: int = Field(
        2, ge=1, description="Threads that preprocess decoded images; never more than cores"
    )
    idle_s: int = Field(
        60, ge=1, description="Seconds for which a call may wait for its caller to send or read a message"
    )
    grace_s: float = Field(10.0, ge=0, description="Seconds that running calls get after SIGTERM")
    log_form: Literal["console", "json"] = Field("console", description="Logs for people or for machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged")

    @field_validator("device")
    @classmethod
    def _one_device(cls, value: str) -> str:
        if "," in value:
            raise ValueError("the tower runs on one device")
        return named_devices(value)

    @model_validator(mode="after")
    def _uploads_fit(self) -> EncoderSettings:
        """Reject a limit at which the service would accept an image that the store then refuses."""
        bound = self.store_limits.uploads.tenant_bytes
        if self.was_set("max_image_bytes") and self.max_image_bytes > bound:
            raise ValueError(
                f"max_image_bytes {self.max_image_bytes} is more than the {bound} bytes of uploads that"
                f" uploads_bytes {self.uploads_bytes} keeps"
                + (f" of a tenant with tenant_share {self.tenant_share}" if self.tenant_share else "")
            )
        return self

    @property
    def store_limits(self) -> StoreLimits:
        return StoreLimits(self.cache_bytes, self.uploads_bytes, self.tenant_share)

    @property
    def model_title(self) -> str:
        return self.served_model_name or self.model.resolve().name

    @property
    def batch_patches(self) -> int:
        """`max_batch_patches`; the device decides if it is 0."""
        on_cpu = pick_devices(self.device)[0] == "cpu"
        return self.max_batch_patches or (1_024 if on_cpu else 16_384)
