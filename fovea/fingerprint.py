"""The fingerprint of rows: which vision tower, and which preprocessing, computed them.

Rows of one checkpoint mean nothing to the language model of another, even if the widths agree. Encoder and
decoder each compute this digest from their own folder and refuse each other if it differs. It covers the
bytes of the vision tensors and the configuration that decides what they compute. It covers neither the
language model, the code version nor file names, so resharding does not change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fovea.checkpoint import TensorEntry, read_json, tensors
from fovea.contract.errors import CheckpointNotSupported
from fovea.geometry import Geometry

PREFIXES = ("model.visual.", "visual.")
"""The published layout, and older checkpoints."""

MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")

# The fields that decide what the tower computes, with the defaults of `transformers`.
VISION_FIELDS: dict[str, Any] = {
    "depth": 27,
    "hidden_size": 1152,
    "hidden_act": "gelu_pytorch_tanh",
    "intermediate_size": 4304,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 3584,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
}

Progress = Callable[[int, int], None]
"""Called with (bytes done, total bytes)."""

_BLOCK = 8 * 1024 * 1024
_SAMPLE = 4096
_ANSWER_FILES = (
    "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json",
    "tokenizer_config.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files besides the weights that decide what a model answers."""


def model_type(directory: Path | str) -> str:
    """`qwen3_vl` or `qwen3_vl_moe`. Raises CheckpointNotSupported for any other model."""
    name = read_json(directory, "config.json").get("model_type")
    if name not in MODEL_TYPES:
        raise CheckpointNotSupported(
            f"the checkpoint's model_type is {name!r}; served are {' and '.join(MODEL_TYPES)}",
            model_type=name,
            supported=",".join(MODEL_TYPES),
        )
    return str(name)


def vision_tensors(directory: Path | str) -> dict[str, tuple[str, TensorEntry]]:
    """The tower's tensors: name inside the tower -> (name on disk, entry). Never empty."""
    entries: dict[str, tuple[str, TensorEntry]] = {}
    for name, entry in tensors(directory).items():
        for prefix in PREFIXES:
            if name.startswith(prefix):
                entries[name.removeprefix(prefix)] = (name, entry)
    if not entries:
        raise CheckpointNotSupported(
            f"the checkpoint has no tensor under {PREFIXES[0]!r}: it has no vision tower",
            prefix=PREFIXES[0],
        )
    return entries


def fingerprint(directory: Path | str, progress: Progress = lambda done, total: None) -> str:
    """`sha256:<hex>` over configuration and vision tensors. Reads each byte once, in blocks.

    Fields are length-prefixed, so moving a boundary between fields changes the digest.
    """
    model_type(directory)
    entries = vision_tensors(directory)
    hasher = hashlib.sha256()
    _field(hasher, json.dumps(vision_settings(directory), sort_keys=True).encode())
    total, done = sum(entry.size for _, entry in entries.values()), 0
    for name in sorted(entries):
        entry = entries[name][1]
        _field(hasher, json.dumps([name, entry.dtype, list(entry.shape), entry.size]).encode())
        for block in _blocks(entry):
            hasher.update(block)
            done += len(block)
            progress(done, total)
    return f"sha256:{hasher.hexdigest()}"


def checkpoint_digest(directory: Path | str) -> str:
    """`sha256:<hex>` that tells the whole model of a checkpoint from any other.

    Covers the configuration, the tokenizer, and of every tensor its name, dtype, shape and first 4 KiB:
    training changes every tensor, and reading all bytes of a large checkpoint would take minutes.
    """
    hasher = hashlib.sha256()
    for name in _ANSWER_FILES:
        file = Path(directory) / name
        _field(hasher, name.encode())
        _field(hasher, file.read_bytes() if file.is_file() else b"")
    for name, entry in sorted(tensors(directory).items()):
        _field(hasher, json.dumps([name, entry.dtype, list(entry.shape), entry.size]).encode())
        with entry.file.open("rb") as stream:
            stream.seek(entry.offset)
            _field(hasher, stream.read(min(_SAMPLE, entry.size)))
    return f"sha256:{hasher.hexdigest()}"


def vision_settings(directory: Path | str) -> dict[str, Any]:
    """The fields of both configuration files that change rows, with defaults filled in."""
    vision = read_json(directory, "config.json").get("vision_config")
    if not isinstance(vision, dict):
        raise CheckpointNotSupported("config.json has no vision_config", file="config.json")
    processor = read_json(directory, "preprocessor_config.json")
    return {
        "layout": 1,
        "vision": {key: vision.get(key, default) for key, default in VISION_FIELDS.items()},
        "geometry": asdict(Geometry.from_checkpoint(directory)),
        "image_mean": processor.get("image_mean"),
        "image_std": processor.get("image_std"),
    }


def _field(hasher: hashlib._Hash, data: bytes) -> None:
    hasher.update(len(data).to_bytes(8, "little"))
    hasher.update(data)


def _blocks(entry: TensorEntry) -> Iterator[bytes]:
    with entry.file.open("rb") as stream:
        stream.seek(entry.offset)
        rest_bytes = entry.size
        while rest_bytes:
            block = stream.read(min(_BLOCK, rest_bytes))
            if not block:
                raise CheckpointNotSupported(f"{entry.file.name} ends early", file=entry.file.name)
            rest_bytes -= len(block)
            yield block
