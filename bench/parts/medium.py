"""A checkpoint of random weights between the stand-in and 30B-A3B: hidden 1024, 12 layers, 16 experts.

Large enough that matrix products, not Python, limit the speed of an engine. Tokenizer, template and processor
are those of the stand-in; the layout is the published one. Written once, into `build/`.
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

HIDDEN, LAYERS = 1024, 12
TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 2048,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    # Not 512: with twice that equal to the hidden size, the two layouts of experts could not be told apart.
    "moe_intermediate_size": 480,
}
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
    config: dict[str, Any] = json.loads((model_dir() / "config.json").read_text())
    config["text_config"] |= TEXT
    config["text_config"]["rope_scaling"] = {
        "mrope_interleaved": True, "mrope_section": [12, 10, 10], "rope_type": "default",
    }  # fmt: skip
    config["vision_config"]["out_hidden_size"] = HIDDEN
    return config
