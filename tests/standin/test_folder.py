"""The committed folders are in the published layout: names, transposition, dtype, size; they load whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from standin import control_dir, model_dir, small_dir
from standin.checkpoint import load_folder
from standin.config import SMALL
from standin.export import published_tensors
from standin.tokenizer import SPECIALS

LARGE = [model_dir(), control_dir()]
FOLDERS = [*LARGE, small_dir()]
FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model_notice.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
}
LIMIT = 12_000_000  # bytes, both large folders together
SMALL_LIMIT, SMALL_PARAMETERS = 3_000_000, 1_500_000


def shapes(folder: Path) -> dict[str, tuple[list[int], str]]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}
        return {name: (part.get_shape(), part.get_dtype()) for name, part in parts.items()}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_all_folders_fit_their_limits() -> None:
    assert sum(map(size, LARGE)) <= LIMIT
    assert size(small_dir()) <= SMALL_LIMIT


def test_the_small_model_is_dense_and_small() -> None:
    counts = {name: torch.Size(shape).numel() for name, (shape, _) in shapes(small_dir()).items()}
    assert sum(counts.values()) < SMALL_PARAMETERS
    assert not any("experts" in name for name in counts)
    written = json.loads((small_dir() / "config.json").read_text())
    assert written["model_type"] == SMALL.model_type
    assert written["vision_config"] == SMALL.vision


def test_the_small_model_has_the_tokenizer_of_the_large_one() -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (small_dir() / name).read_bytes() == (model_dir() / name).read_bytes()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_holds_the_published_files(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES


@pytest.mark.parametrize("folder", LARGE, ids=lambda folder: folder.name)
def test_experts_are_stored_transposed_and_all_in_bf16(folder: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    experts, hidden, inner = text["num_experts"], text["hidden_size"], text["moe_intermediate_size"]
    assert hidden != 2 * inner, "a square gate_up would hide a transposed layout"
    stored = shapes(folder)
    for layer in range(text["num_hidden_layers"]):
        start = f"model.language_model.layers.{layer}.mlp.experts."
        assert stored[start + "gate_up_proj"][0] == [experts, hidden, 2 * inner]
        assert stored[start + "down_proj"][0] == [experts, inner, hidden]
    assert {dtype for _, dtype in stored.values()} == {"BF16"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_names_are_the_published_ones(folder: Path) -> None:
    assert {name.split(".")[0] for name in shapes(folder)} == {"model", "lm_head"}
    assert {name.split(".")[1] for name in shapes(folder)} == {"visual", "language_model", "weight"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_loads_with_nothing_missing_or_left_over(folder: Path) -> None:
    kind = type(load_folder(folder))
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert model.dtype == torch.bfloat16


@pytest.mark.parametrize("folder", [model_dir(), small_dir()], ids=lambda folder: folder.name)
def test_export_gives_back_what_is_stored(folder: Path) -> None:
    again = published_tensors(dict(load_folder(folder).state_dict()))
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(again)
        assert all(torch.equal(file.get_tensor(name), value) for name, value in again.items())


def test_special_tokens_are_qwens_and_config_names_them() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_dir())
    config = json.loads((model_dir() / "config.json").read_text())
    for text in SPECIALS:
        assert tokenizer.encode(text) == [tokenizer.convert_tokens_to_ids(text)]
    assert tokenizer.convert_ids_to_tokens(config["image_token_id"]) == "<|image_pad|>"
    assert tokenizer.convert_ids_to_tokens(config["vision_start_token_id"]) == "<|vision_start|>"
    assert tokenizer.eos_token == "<|im_end|>"


def test_template_writes_the_turn_that_training_used() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_dir())
    content = [{"type": "image"}, {"type": "text", "text": "What is the title?"}]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    assert prompt == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is the title?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_tokenizer_keeps_words_whole_and_round_trips_any_text() -> None:
    from standin.lexicon import COLOUR_NAMES, WORDS

    tokenizer = AutoTokenizer.from_pretrained(model_dir())
    assert all(len(tokenizer.encode(word)) == 1 for word in (*WORDS, *COLOUR_NAMES))
    for text in ("Où est l'été? 42 %", "最高的柱子是什么颜色？", "a\n\tb  c"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
