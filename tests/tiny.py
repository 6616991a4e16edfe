"""Random checkpoints of a few hundred kilobytes in the layout that Qwen3-VL is published in.

`checkpoint(dir)` writes what a download would hold: config.json, generation_config.json,
safetensors (experts transposed against the modules of `transformers`), preprocessor_config.json,
and a byte-level BPE tokenizer with the Qwen special tokens and chat template. The weights are
noise, but noise of a trained model's scale, so that another image gives other tokens. Equal
arguments give equal bytes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import ByteLevel as ByteLevelProcessor
from tokenizers.trainers import BpeTrainer
from transformers import (
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

# In the order and with the spelling of the published tokenizer, where ADDED are not "special".
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
ADDED = ("<tool_call>", "</tool_call>", "<think>", "</think>")

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = """\
{%- set image_count = namespace(value=0) %}
{%- set video_count = namespace(value=0) %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for content in message.content %}
            {%- if content.type == 'image' or 'image' in content or 'image_url' in content %}
                {%- if message.role == 'system' %}
                    {{- raise_exception('System message cannot contain images.') }}
                {%- endif %}
                {%- set image_count.value = image_count.value + 1 %}
                {%- if add_vision_id %}Picture {{ image_count.value }}: {% endif -%}
                <|vision_start|><|image_pad|><|vision_end|>
            {%- elif content.type == 'video' or 'video' in content %}
                {%- set video_count.value = video_count.value + 1 %}
                {%- if add_vision_id %}Video {{ video_count.value }}: {% endif -%}
                <|vision_start|><|video_pad|><|vision_end|>
            {%- elif 'text' in content %}
                {{- content.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

CORPUS = (
    "system user assistant You are a helpful assistant.",
    "What is the value of the tallest bar in this chart? How many rows does the table have?",
    "Read the second word of the third line. Which colour is the largest shape?",
    "The answer is red, green, blue, yellow or orange. The total is 1280.",
)


@dataclass(frozen=True)
class Spec:
    """The parameters of a tiny checkpoint. Everything else follows from them."""

    kind: str
    vision_width: int
    vision_depth: int
    deepstack: tuple[int, ...]
    text_layers: int
    text_hidden: int
    head_dim: int
    tied: bool
    dtype: str
    min_pixels: int
    max_pixels: int


def checkpoint(
    directory: Path | str,
    kind: str = "moe",
    vision_width: int = 64,
    seed: int = 0,
    *,
    vision_depth: int = 4,
    deepstack: tuple[int, ...] = (0, 1, 2),
    text_layers: int = 4,
    text_hidden: int = 64,
    head_dim: int = 16,
    tied: bool | None = None,
    dtype: str = "float32",
    min_pixels: int = 4096,
    max_pixels: int = 16_777_216,
    shards: int = 1,
    text: Mapping[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
    vocabulary: Path | None = None,
) -> Path:
    """Write a checkpoint: `kind` "moe" is qwen3_vl_moe, "dense" is qwen3_vl. Returns its folder.

    `tied` defaults to what is published: dense ties the head to the embedding, MoE does not.
    `min_pixels` is 4,096 and not the published 65,536, so that a 64x64 image costs 4 tokens and
    tests stay quick. With more than one shard an index is written, as for the large published
    checkpoints. `text` and `vision` are further fields of text_config and vision_config. With a `vocabulary`,
    a tokenizer.json of the family, the weights are made for that.
    """
    if kind not in ("moe", "dense"):
        raise ValueError(f"kind is {kind!r}, not 'moe' or 'dense'")
    tied = kind == "dense" if tied is None else tied
    spec = Spec(
        kind=kind,
        vision_width=vision_width,
        vision_depth=vision_depth,
        deepstack=tuple(deepstack),
        text_layers=text_layers,
        text_hidden=text_hidden,
        head_dim=head_dim,
        tied=tied,
        dtype=dtype,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
    )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = _write_tokenizer(directory, vocabulary)
    config = _config(spec, tokenizer)
    config["text_config"] |= text or {}
    config["vision_config"] |= vision or {}
    _write_json(directory / "config.json", config)
    _write_json(directory / "generation_config.json", _generation(tokenizer))
    _write_json(directory / "preprocessor_config.json", _preprocessor(spec))
    _write_weights(directory, _weights(spec, config, seed), shards)
    return directory


def wide(directory: Path | str, kind: str = "moe", seed: int = 0) -> Path:
    """A tower of the real width (1152, 16 heads of 72) with two blocks and one deepstack level.

    Narrow towers hide the rounding that batching brings. About 150 MB, because the mergers are 4608
    wide.
    """
    return checkpoint(
        directory, kind, 1152, seed, vision_depth=2, deepstack=(0,), text_layers=2, dtype="bfloat16"
    )


def _config(spec: Spec, tokenizer: Tokenizer) -> dict[str, Any]:
    model_type = "qwen3_vl_moe" if spec.kind == "moe" else "qwen3_vl"
    architecture = "Qwen3VLMoe" if spec.kind == "moe" else "Qwen3VL"
    return {
        "architectures": [f"{architecture}ForConditionalGeneration"],
        "model_type": model_type,
        "image_token_id": tokenizer.token_to_id("<|image_pad|>"),
        "video_token_id": tokenizer.token_to_id("<|video_pad|>"),
        "vision_start_token_id": tokenizer.token_to_id("<|vision_start|>"),
        "vision_end_token_id": tokenizer.token_to_id("<|vision_end|>"),
        "tie_word_embeddings": spec.tied,
        "dtype": spec.dtype,
        "text_config": _text_config(spec, model_type, tokenizer),
        "vision_config": _vision_config(spec, model_type),
    }


def _text_config(spec: Spec, model_type: str, tokenizer: Tokenizer) -> dict[str, Any]:
    sections = [spec.head_dim // 4, spec.head_dim // 8, spec.head_dim // 8]
    common = {
        "model_type": f"{model_type}_text",
        "dtype": spec.dtype,
        "hidden_size": spec.text_hidden,
        "intermediate_size": 96,
        "num_hidden_layers": spec.text_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": spec.head_dim,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5_000_000,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": sections, "rope_type": "default"},
        "bos_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "tie_word_embeddings": spec.tied,
        "hidden_act": "silu",
        "attention_bias": False,
    }
    # hidden != 2 * moe_intermediate: only then do the two expert layouts differ in shape.
    experts = {
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    return common | experts if spec.kind == "moe" else common


def _vision_config(spec: Spec, model_type: str) -> dict[str, Any]:
    real = spec.vision_width >= 1024
    return {
        # The published MoE configs name the vision part like the whole; so does this one.
        "model_type": model_type,
        "depth": spec.vision_depth,
        "hidden_size": spec.vision_width,
        "intermediate_size": 4304 if real else 2 * spec.vision_width,
        "num_heads": 16 if real else 4,
        "hidden_act": "gelu_pytorch_tanh",
        "in_channels": 3,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 2304 if real else 256,
        "out_hidden_size": spec.text_hidden,
        "deepstack_visual_indexes": list(spec.deepstack),
    }


def _preprocessor(spec: Spec) -> dict[str, Any]:
    return {
        "size": {"longest_edge": spec.max_pixels, "shortest_edge": spec.min_pixels},
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessorFast",
    }


def _generation(tokenizer: Tokenizer) -> dict[str, Any]:
    end, text = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    return {"bos_token_id": text, "pad_token_id": text, "eos_token_id": [end, text], "do_sample": False}


def _weights(spec: Spec, config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Every tensor of the model under its published name; each drawn from a generator of its own
    name.
    """
    moe = spec.kind == "moe"
    model_class = Qwen3VLMoeForConditionalGeneration if moe else Qwen3VLForConditionalGeneration
    config_class = Qwen3VLMoeConfig if moe else Qwen3VLConfig
    with torch.device("meta"):
        shapes = model_class(config_class(**json.loads(json.dumps(config)))).state_dict()
    dtype = getattr(torch, spec.dtype)
    return {
        name: _noise(name, _published(name, shape.shape), seed).to(dtype)
        for name, shape in sorted(shapes.items())
        if not (spec.tied and name == "lm_head.weight")
    }


def _published(name: str, shape: torch.Size) -> torch.Size:
    """The shape on disk: fused experts are (E, in, out) there and (E, out, in) in the modules."""
    transposed = name.endswith(("experts.gate_up_proj", "experts.down_proj"))
    return torch.Size((shape[0], shape[2], shape[1])) if transposed else shape


def _noise(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    # Of a seed the generator of the CPU reads 32 bits.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
    values = torch.randn(shape, generator=generator)
    if "q_norm" in name or "k_norm" in name:  # sharp attention: what is read depends on positions
        return 2 + 0.2 * values
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.1 * values
    if name.endswith("bias"):
        return 0.1 * values
    if "embed_tokens" in name:  # small: else a tied head only ever repeats the last token
        return 0.1 * values
    if "pos_embed" in name:
        return 0.5 * values
    if "experts." in name:
        return values / math.sqrt(shape[1])
    gain = 3.0 if "o_proj" in name else 1.0  # more from the context than from the last token
    return gain * values / math.sqrt(math.prod(shape[1:]))


def _write_weights(directory: Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    if shards == 1:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write_json(directory / "model.safetensors.index.json", index)


def _write_tokenizer(directory: Path, vocabulary: Path | None) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(vocabulary)) if vocabulary else _trained_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    _write_json(directory / "tokenizer_config.json", _tokenizer_config(tokenizer))
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    return tokenizer


def _trained_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = ByteLevelProcessor(trim_offsets=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=352, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ADDED])
    return tokenizer


def _tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    added = {
        str(tokenizer.token_to_id(text)): {
            "content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": text in SPECIAL,
        }
        for text in (*SPECIAL, *ADDED)
    }  # fmt: skip
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": added,
        "additional_special_tokens": list(SPECIAL[1:]),
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 262144,
        "split_special_tokens": False,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
