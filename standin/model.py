"""Builds the stand-in with fresh weights that suit its small width. Loads and saves nothing."""

from __future__ import annotations

import torch
from torch import nn
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLMoeForConditionalGeneration

from standin.config import LARGE, Form, build_config
from standin.tokenizer import special_ids, vocabulary_size

Model = Qwen3VLForConditionalGeneration | Qwen3VLMoeForConditionalGeneration


def build_model(form: Form = LARGE) -> Model:
    """A model in fp32 whose maps keep the variance of their input.

    What ends a residual branch starts smaller.
    """
    config = build_config(form, vocabulary_size(), special_ids())
    config._attn_implementation = "sdpa"
    kind = Qwen3VLMoeForConditionalGeneration if form == LARGE else Qwen3VLForConditionalGeneration
    model = kind(config).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _start(name, parameter)
    return model


def _start(name: str, parameter: nn.Parameter) -> None:
    if parameter.ndim == 1:
        return
    if "embed_tokens" in name or "pos_embed" in name:
        parameter.normal_(0.0, 0.1)
        return
    gain = (
        0.5
        if name.endswith(
            ("attn.proj.weight", "linear_fc2.weight", "o_proj.weight", "down_proj", "down_proj.weight")
        )
        else 1.0
    )
    fan_in = parameter.shape[-1] if "patch_embed" not in name else parameter[0].numel() // 2
    parameter.normal_(0.0, gain * fan_in**-0.5)
