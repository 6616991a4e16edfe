"""A checkpoint of random weights between the stand-in and what is served: hidden 1024, 12 layers, 16 experts.

Large enough that matrix products and not Python decide how fast an engine is. Tokenizer, template and
processor are the stand-in's; the layout is the published one. Written once into `build/`.
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
from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

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
    """The folder, written if it is not there."""
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            shutil.copyfile(model_dir() / name, folder / name)
        config = _config()
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(_weights(config), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def parameters(folder: Path) -> int:
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


def _weights(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = Qwen3VLMoeForConditionalGeneration(Qwen3VLMoeConfig(**config)).state_dict()
    generator = torch.Generator().manual_seed(0)
    return published_tensors({name: _noise(name, s.shape, generator) for name, s in sorted(shapes.items())})


def _noise(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Of a trained model's scale, so that tokens depend on the context."""
    values = torch.randn(shape, generator=generator)
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.1 * values
    if name.endswith("bias"):
        return 0.1 * values
    inputs = shape[2] if "experts." in name else math.prod(shape[1:])
    return (2.0 if "o_proj" in name else 1.0) * values / math.sqrt(inputs)
