"""`generate` of transformers as a side, for sequential questions. Its logit gaps define ties."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.generation.streamers import BaseStreamer

from bench.sides.side import Answer, Question


class _TokenTimes(BaseStreamer):
    """The time of each `put`: first the prompt, then each new token."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.at.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is buffered."""


class GenerateSide:
    def __init__(self, options: argparse.Namespace) -> None:
        torch.set_num_threads(options.threads)
        self._folder = options.model
        self._threads = options.threads

    async def start(self) -> dict[str, Any]:
        self._model = AutoModelForImageTextToText.from_pretrained(self._folder, dtype=torch.float32).eval()
        self._model.generation_config.eos_token_id = None  # as ignore_eos elsewhere
        args = f"generate, one at a time, fp32, {self._threads} threads"
        return {"version": version("transformers"), "args": args}

    async def answers(self, questions: Sequence[Question], tokens: int, gaps: bool) -> list[Answer]:
        return [await asyncio.to_thread(self._answer, q, tokens, gaps) for q in questions]

    @torch.inference_mode()
    def _answer(self, q: Question, tokens: int, gaps: bool) -> Answer:
        begin, times = time.perf_counter(), _TokenTimes()
        out = self._model.generate(
            **self._inputs(q),
            max_new_tokens=tokens,
            do_sample=False,
            output_logits=gaps,
            return_dict_in_generate=True,
            streamer=times,
        )
        differences: list[float] = []
        if gaps:
            best = torch.cat(out.logits).float().topk(2).values
            differences = (best[:, 0] - best[:, 1]).tolist()
        made = out.sequences[0, len(q.prompt.token_ids) :].tolist()
        return Answer.of(made, times.at[1] - begin, differences)

    def _inputs(self, q: Question) -> dict[str, Any]:
        ids = torch.from_numpy(q.prompt.token_ids).long()[None]
        grid = torch.tensor([q.image.grid_thw])
        levels = torch.from_numpy(q.rows).split(self._model.config.vision_config.out_hidden_size, dim=1)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == self._model.config.image_token_id).int(),
            "image_grid_thw": grid,
            "mm_encoder_outputs": {"image": _features(levels)},
        }

    async def close(self) -> None:
        """Nothing to stop."""


def _features(levels: Sequence[torch.Tensor]) -> Any:
    """What the tower would have returned: each level as a list by image, here of a single image."""
    from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

    return BaseModelOutputWithDeepstackFeatures(
        pooler_output=[levels[0]], deepstack_features=[[level] for level in levels[1:]]
    )
