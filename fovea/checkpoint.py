"""Reads a checkpoint folder: its JSON files, and the file offset of each tensor.

Reads the safetensors layout (8 bytes of length, a JSON header, the data), in a single file or in shards with
an index, without torch and without reading tensor data. Independent of the model.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea.contract.errors import CheckpointNotSupported

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
NOTICE = "model_notice.txt"
MAX_NOTICE_CHARS = 500
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MAX_HEADER_BYTES = 100 * 1024 * 1024
"""The limit of the safetensors library; a longer header is invalid."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor on disk: `size` bytes at `offset` of `file`, little-endian and row-major."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def check_folder(directory: Path) -> None:
    """Raises CheckpointNotSupported if the folder does not exist; explains the fix for a model-hub id."""
    if directory.is_dir():
        return
    message = f"{directory} is not a folder"
    if _HUB_ID.fullmatch(str(directory)):
        message += ": fetch the checkpoint first, as with `hf download`, and name the folder it is in"
    raise CheckpointNotSupported(message, model=str(directory))


def read_json(directory: Path | str, name: str) -> dict[str, Any]:
    """The JSON object in the file `name`. Raises CheckpointNotSupported."""
    try:
        value = json.loads((Path(directory) / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointNotSupported(f"the checkpoint folder has no {name}", file=name) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointNotSupported(f"{name} of the checkpoint is not JSON", file=name) from error
    if not isinstance(value, dict):
        raise CheckpointNotSupported(f"{name} of the checkpoint is not a JSON object", file=name)
    return value


def read_notice(directory: Path | str) -> str:
    """What readers of the model's answers should know: the text of NOTICE, empty without that file.

    Raises CheckpointNotSupported for text that is not a short line.
    """
    path = Path(directory) / NOTICE
    if not path.is_file():
        return ""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointNotSupported(f"{NOTICE} of the checkpoint is not UTF-8 text", file=NOTICE) from error
    if len(text) > MAX_NOTICE_CHARS or not text.isprintable():
        raise CheckpointNotSupported(
            f"{NOTICE} of the checkpoint must be a line of at most {MAX_NOTICE_CHARS} printable characters;"
            f" it has {len(text)}",
            file=NOTICE,
            limit=MAX_NOTICE_CHARS,
            actual=len(text),
        )
    return text


def shards(directory: Path | str) -> list[Path]:
    """The weight files, sorted; taken from the index, if any. Raises CheckpointNotSupported."""
    directory = Path(directory)
    names = set(weight_map(directory).values()) if (directory / INDEX).exists() else {SINGLE}
    for name in sorted(names):
        if not (directory / name).exists():
            raise CheckpointNotSupported(f"the checkpoint folder has no {name}", file=name)
    return [directory / name for name in sorted(names)]


def weight_map(directory: Path | str) -> dict[str, str]:
    """Tensor name to file name, from the shard index. Raises CheckpointNotSupported."""
    names_by_tensor = read_json(directory, INDEX).get("weight_map")
    if not isinstance(names_by_tensor, dict) or not names_by_tensor:
        raise CheckpointNotSupported(f"{INDEX} has no weight_map", file=INDEX, field="weight_map")
    for tensor, name in names_by_tensor.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointNotSupported(
                f"{INDEX}: weight_map names no file for {tensor}",
                file=INDEX,
                field="weight_map",
                tensor=tensor,
            )
    return names_by_tensor


def tensors(directory: Path | str) -> dict[str, TensorEntry]:
    """Every tensor of the checkpoint by its name on disk. Reads headers only."""
    return {name: entry for file in shards(directory) for name, entry in _header(file)}


def _header(file: Path) -> Iterator[tuple[str, TensorEntry]]:
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError(length)
            fields = json.loads(stream.read(length))
        end_of_file = file.stat().st_size
        for name, field in fields.items():
            if name != "__metadata__":
                yield name, _entry(file, field, 8 + length, end_of_file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointNotSupported(
            f"{file.name} is not a whole safetensors file", file=file.name
        ) from error


def _entry(file: Path, field: dict[str, Any], start: int, end_of_file: int) -> TensorEntry:
    begin, end = field["data_offsets"]
    if not 0 <= begin <= end or start + end > end_of_file:
        raise ValueError("tensor outside of its file")
    return TensorEntry(file, field["dtype"], tuple(field["shape"]), start + begin, end - begin)
