"""The model that an image is counted for: as published, from a checkpoint folder, or of a running decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea.checkpoint import read_json
from fovea.cli.options import Access
from fovea.contract.errors import CheckpointNotSupported
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry

BF16_BYTES = 2
CONFIG = "config.json"


@dataclass(frozen=True)
class Model:
    """What determines the cost of an image: bytes per visual token, geometry, and context."""

    name: str
    geometry: Geometry
    row_bytes: int
    kv_bytes: int
    context: int = 8192
    answer: int = 256
    max_pixels: int = DEFAULT_MAX_PIXELS

    def fits_context(self, tokens: int) -> bool:
        """Whether an image of this many tokens and an answer of default length fit the context."""
        return tokens + self.answer <= self.context


PUBLISHED = Model(
    "Qwen3-VL-30B-A3B as published, bf16",
    Geometry(),
    row_bytes=4 * 2048 * BF16_BYTES,  # pooled features and three deepstack levels of 2,048 values
    kv_bytes=2 * 48 * 4 * 128 * BF16_BYTES,  # keys and values: 48 layers of 4 heads of 128 values
)


def of_checkpoint(directory: Path) -> Model:
    """As a service serves it by default. Raises CheckpointNotSupported."""
    config = read_json(directory, CONFIG)
    try:
        text, vision = config["text_config"], config["vision_config"]
        levels = 1 + len(vision["deepstack_visual_indexes"])
        row_values = levels * int(vision["out_hidden_size"])
        kv_values = 2 * int(text["num_hidden_layers"]) * int(text["num_key_value_heads"]) * _head_dim(text)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointNotSupported(f"{CONFIG} lacks a usable {error}", file=CONFIG) from error
    geometry = Geometry.from_checkpoint(directory)
    return Model(f"{directory}, bf16", geometry, row_values * BF16_BYTES, kv_values * BF16_BYTES)


def of_decoder(address: str, access: Access) -> Model:
    """As the decoder serves it. Raises the errors of the call."""
    from fovea.client import Client

    with Client(address, access.token, tls=access.tls()) as client:
        info = client.info()
    limits, layout = info.limits, info.details.get("layout") or {}
    geometry = Geometry(min_pixels=limits["min_pixels"], max_pixels=limits["max_pixels"])
    return Model(
        f"{info.model} on {address}",
        geometry,
        layout.get("row_bytes", 0),
        info.details.get("kv_bytes_per_token", 0),
        limits["max_context"],
        limits["default_max_new_tokens"],
        limits["default_max_pixels"],
    )


def _head_dim(text: Mapping[str, Any]) -> int:
    return int(text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"])
