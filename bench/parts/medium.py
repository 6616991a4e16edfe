"""A checkpoint of random weights between the stand-in and 30B-A3B: hidden 1024, 12 layers, 16 experts.

It is large enough that matrix products, not Python, limit the speed of an engine. Tokenizer, template and
processor are those of the stand-in, in the published layout. It is written once, into `build/`.
Experts are 480 wide. At 512, half of the hidden size, both layouts of experts would have the same shape.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bench.parts.random_checkpoint import RandomCheckpoint
from standin import model_dir
from standin.export import published_tensors

OVERRIDES = Path(__file__).with_name("medium.json")
COPIED = (
    "chat_template.jinja", "generation_config.json", "preprocessor_config.json", "tokenizer.json",
    "tokenizer_config.json", "video_preprocessor_config.json",
)  # fmt: skip


def checkpoint(folder: Path) -> Path:
    """The folder, written if it is missing."""
    if not (folder / "model.safetensors").exists():
        source = RandomCheckpoint(folder, _config(), torch.device("cpu"), torch.float32)
        tensors = published_tensors({name: source.read(name) for name in source.shapes})
        for name in COPIED:
            shutil.copyfile(model_dir() / name, folder / name)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def count_parameters(folder: Path) -> int:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _config() -> dict[str, Any]:
    """The config of the stand-in, with larger parts."""
    config: dict[str, Any] = json.loads((model_dir() / "config.json").read_text())
    for part, values in json.loads(OVERRIDES.read_text()).items():
        config[part] |= values
    return config
