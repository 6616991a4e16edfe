"""Writes a checkpoint as a model folder in the published layout.

Expert tensors transposed, bf16, key names as published.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from standin.config import LARGE, SMALL, Form
from standin.tokenizer import SPECIALS, special_ids, train_tokenizer, vocabulary_size

TEMPLATE = Path(__file__).parent / "chat_template.jinja"
NOTICE = (
    "This bundled model reads only pictures like its own: the samples and what standin.draw makes. "
    "Serve a published checkpoint for real images."
)


def published_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters by their transformers names to what Hugging Face published.

    Bf16, fused experts as [E, in, out].
    """
    published = {}
    for name, value in tensors.items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            value = value.transpose(1, 2)
        published[name] = value.to(torch.bfloat16).contiguous()
    return published


def write_folder(tensors: dict[str, Tensor], folder: Path, form: Form = LARGE) -> None:
    """Write all files beside the folder first, then move them in one by one, weights last."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, value in _json_files(form).items():
        (fresh / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    (fresh / "model_notice.txt").write_text(NOTICE + "\n")
    shutil.copyfile(TEMPLATE, fresh / "chat_template.jinja")
    (fresh / "tokenizer.json").write_text(train_tokenizer().to_str(pretty=False))
    save_file(published_tensors(tensors), fresh / "model.safetensors", metadata={"format": "pt"})
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(fresh.iterdir(), key=lambda one: one.suffix == ".safetensors"):
        os.replace(path, folder / path.name)
    fresh.rmdir()


def _json_files(form: Form) -> dict[str, object]:
    ids = special_ids()
    processor = {
        "size": form.image_size,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return {
        "config.json": _config(form, ids),
        "generation_config.json": {
            "bos_token_id": ids["<|endoftext|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "do_sample": False,
        },
        "preprocessor_config.json": {
            **processor,
            "processor_class": "Qwen3VLProcessor",
            "image_processor_type": "Qwen2VLImageProcessorFast",
        },
        "video_preprocessor_config.json": {
            **processor,
            "processor_class": "Qwen3VLProcessor",
            "video_processor_type": "Qwen3VLVideoProcessor",
        },
        "tokenizer_config.json": _tokenizer_config(form, ids),
    }


def _config(form: Form, ids: dict[str, int]) -> dict[str, object]:
    text = {
        **form.text,
        "vocab_size": vocabulary_size(),
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "dtype": "bfloat16",
    }
    return {
        "architectures": [form.architecture],
        "model_type": form.model_type,
        "dtype": "bfloat16",
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": False,
        "text_config": text,
        "vision_config": form.vision,
    }


def _tokenizer_config(form: Form, ids: dict[str, int]) -> dict[str, object]:
    added = {
        str(ids[text]): {
            "content": text,
            "special": True,
            "normalized": False,
            "lstrip": False,
            "rstrip": False,
            "single_word": False,
        }
        for text in SPECIALS
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "Qwen3VLProcessor",
        "model_max_length": form.text["max_position_embeddings"],
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "additional_special_tokens": [
            text for text in SPECIALS if text not in ("<|endoftext|>", "<|im_end|>")
        ],
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": added,
    }


def checkpoint_tensors(path: Path) -> dict[str, Tensor]:
    """The model's parameters of a training checkpoint, by their transformers names."""
    start = "weight.model."
    return {n.removeprefix(start): v for n, v in load_file(path).items() if n.startswith(start)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true", help="the small model's form")
    options = parser.parse_args()
    form = SMALL if options.small else LARGE
    write_folder(checkpoint_tensors(options.checkpoint), options.folder, form)


if __name__ == "__main__":
    main()
