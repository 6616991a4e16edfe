"""Tokens and log-probabilities equal those of the monolithic model for every config."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from decoder_svc.engine.protocol import Sampling
from decoder_svc.native_engine.engine import NativeEngine
from tests import tiny
from tests.decoder.native_engine.harness import (
    Reference,
    answer,
    assert_equal_but_for_ties,
    settings,
    tokens,
)

GREEDY = Sampling(max_new_tokens=8, logprobs=True)
# The reference in fp32 and ours add in another order: a few units in the last place of values around ten.
LOGPROB_ERROR = 2e-4


def yarn(head_dim: int, **fields: Any) -> dict[str, Any]:
    """A context stretched fourfold from 16 positions, so that every prompt here is beyond it."""
    sections = [head_dim // 4, head_dim // 8, head_dim // 8]
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    return {"rope_scaling": {**rope, "mrope_interleaved": True, "mrope_section": sections, **fields}}


SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "head-16": ("dense", {"head_dim": 16}),
    "head-32-mqa": ("moe", {"head_dim": 32, "text": {"num_key_value_heads": 1}}),
    "head-64-every-head-its-own": ("dense", {"head_dim": 64, "text": {"num_key_value_heads": 4}}),
    "head-128-mqa": ("moe", {"head_dim": 128, "text": {"num_attention_heads": 2, "num_key_value_heads": 1}}),
    "head-128-one-head": (
        "dense",
        {"head_dim": 128, "text": {"num_attention_heads": 1, "num_key_value_heads": 1}},
    ),
    "uneven-sections": (
        "moe",
        {
            "head_dim": 32,
            "text": {
                "rope_scaling": {
                    "rope_type": "default",
                    "mrope_interleaved": True,
                    "mrope_section": [6, 5, 5],
                }
            },
        },
    ),
    "yarn": ("moe", {"head_dim": 64, "text": yarn(64)}),
    "yarn-with-its-own-factors": (
        "dense",
        {
            "head_dim": 16,
            "text": yarn(16, attention_factor=1.3, beta_fast=16.0, beta_slow=2.0, truncate=False),
        },
    ),
    "theta-100": ("dense", {"text": {"rope_theta": 100.0}}),
    "sparse-step-2": ("moe", {"text": {"decoder_sparse_step": 2}}),
    "sparse-step-3-and-dense-layers": ("moe", {"text": {"decoder_sparse_step": 3, "mlp_only_layers": [2]}}),
    "dense-first-and-third": ("moe", {"text": {"mlp_only_layers": [0, 2]}}),
    "one-expert-a-token": ("moe", {"text": {"num_experts_per_tok": 1}}),
    "all-experts-a-token": ("moe", {"text": {"num_experts_per_tok": 8}}),
    "moe-tied": ("moe", {"tied": True}),
    "dense-untied": ("dense", {"tied": False}),
    "large-eps": ("moe", {"text": {"rms_norm_eps": 0.5}}),
    "no-deepstack": ("dense", {"deepstack": ()}),
    "one-level": ("moe", {"deepstack": (2,)}),
    "two-levels": ("dense", {"deepstack": (1, 3)}),
    "four-levels": ("moe", {"deepstack": (0, 1, 2, 3)}),
    "more-levels-than-layers": ("moe", {"deepstack": (0, 1, 2, 3), "text_layers": 2}),
    "levels-out-of-order": ("dense", {"deepstack": (3, 0, 2)}),
    "one-layer": ("moe", {"text_layers": 1, "deepstack": (0,)}),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_shape_gives_the_tokens_of_the_monolithic_model(tmp_path: Path, shape: str) -> None:
    kind, changes = SHAPES[shape]
    folder = tiny.checkpoint(tmp_path, kind, **changes)
    reference = Reference(folder, kind)
    asked = [reference.ask(images, seed, tokens=8) for images, seed in ((0, 1), (2, 2), (1, 3))]
    engine = NativeEngine(settings(folder, prefill_chunk=9, block_size=4))
    await engine.start()
    try:
        calls = (answer(engine, q, GREEDY, f"request {i}") for i, q in enumerate(asked))
        for deltas, q in zip(await asyncio.gather(*calls), asked, strict=True):
            if not assert_equal_but_for_ties(tokens(deltas), q):
                logprobs = [value for delta in deltas for value in delta.logprobs]
                assert logprobs == pytest.approx(q.logprobs, abs=LOGPROB_ERROR)
    finally:
        await engine.close()


async def test_every_tested_config_field_changes_the_tokens(tmp_path: Path) -> None:
    """Guards the test above: if the fields changed nothing, equality would prove nothing."""
    plain = Reference(tiny.checkpoint(tmp_path / "plain", "moe"), "moe").ask(1, 3, tokens=8)
    for name in ("yarn", "theta-100", "large-eps", "one-expert-a-token", "moe-tied"):
        _, changes = SHAPES[name]
        changed = {"head_dim": 16, **changes}
        if name == "yarn":
            changed = {"text": yarn(16)}
        other = Reference(tiny.checkpoint(tmp_path / name, "moe", **changed), "moe").ask(1, 3, tokens=8)
        assert other.logprobs != pytest.approx(plain.logprobs, abs=LOGPROB_ERROR), name
