"""vLLM as a side: its own model classes and defaults, prefix caching, and the same rows as `image_embeds`."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import torch
import vllm
from vllm import AsyncEngineArgs, SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from bench.sides.child import gather
from bench.sides.side import Answer, Question

CONTEXT = 2048
GIB = 1024**3


class VllmSide:
    def __init__(self, options: argparse.Namespace) -> None:
        self._args = {
            "model": str(options.model),
            "dtype": "float32",
            "enforce_eager": options.eager,
            "enable_prefix_caching": True,
            "enable_mm_embeds": True,
            "limit_mm_per_prompt": {"image": 1, "video": 0},
            "max_model_len": CONTEXT,
            "max_num_seqs": options.concurrency,
            "kv_cache_memory_bytes": 2 * GIB,
            "skip_mm_profiling": True,
        }
        self._threads = options.threads
        self._numbers = itertools.count()

    async def start(self) -> dict[str, Any]:
        self._llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._args))
        args = {name: value for name, value in self._args.items() if name != "model"}
        return {"version": vllm.__version__, "args": f"{json.dumps(args)}, {self._threads} threads"}

    async def answers(self, questions: Sequence[Question], tokens: int, gaps: bool) -> list[Answer]:
        return list(await asyncio.gather(*(gather(self._deltas(q, tokens)) for q in questions)))

    async def _deltas(self, q: Question, tokens: int) -> AsyncIterator[Sequence[int]]:
        params = SamplingParams(
            temperature=0,
            max_tokens=tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        async for output in self._llm.generate(_prompt(q), params, str(next(self._numbers))):
            yield output.outputs[0].token_ids

    async def close(self) -> None:
        if hasattr(self, "_llm"):
            self._llm.shutdown()


def _prompt(q: Question) -> dict[str, Any]:
    present = np.ones(len(q.prompt.token_ids), bool)
    present[q.image.start + 1 : q.image.end] = False
    rows = {"image_embeds": torch.from_numpy(q.rows), "image_grid_thw": torch.tensor([q.image.grid_thw])}
    return {
        "prompt_token_ids": q.prompt.token_ids[present].tolist(),
        "multi_modal_data": {"image": rows},
        "multi_modal_uuids": {"image": [q.image.key.hex()]},
    }
