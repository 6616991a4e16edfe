"""The monolithic model of transformers, on the same tensors that the engine and the tower use.

It says which token it would have chosen at each position of an answer, how long its own `generate` takes for
a token, and which experts the tokens of a step touch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, Qwen3VLMoeForConditionalGeneration

from bench.parts.random_checkpoint import RandomCheckpoint
from bench.parts.roofline import synchronize
from encoder_svc.vision.preprocess import Patches

AT_ONCE = 8
"""Prompts of a call that counts experts, so that memory stays small."""


@dataclass(frozen=True)
class Verdict:
    """At a position of an answer: the reference's best logit, and how far below it the chosen token lies."""

    best: float
    behind: float


class Reference:
    def __init__(self, checkpoint: RandomCheckpoint) -> None:
        config = checkpoint.config
        with torch.device("meta"):
            self._model = Qwen3VLMoeForConditionalGeneration(config)
        checkpoint.fill(self._model, "")
        text, vision = self._model.model.language_model, self._model.model.visual
        # Frequencies are not parameters: they were created on the meta device and must be computed again.
        text.rotary_emb = type(text.rotary_emb)(config=config.text_config).to(checkpoint.device)
        vision.rotary_pos_emb = type(vision.rotary_pos_emb)(config.vision_config).to(checkpoint.device)
        if any(value.is_meta for value in self._model.buffers()):
            raise RuntimeError("some buffers of the reference were not filled")
        self._model.eval()
        self._model.generation_config = GenerationConfig(do_sample=False, pad_token_id=0)
        self._device = checkpoint.device
        self._image_token_id = checkpoint.image_token_id

    @torch.inference_mode()
    def verdicts(self, prompt: NDArray[np.int32], image: Patches, answer: Sequence[int]) -> list[Verdict]:
        """A verdict on every token of `answer`, given the prompt and the tokens before it."""
        ids = self._tensor([*prompt.tolist(), *answer[:-1]])
        out = self._model(**self._inputs(ids, image), logits_to_keep=len(answer), use_cache=False)
        logits = out.logits[0].float()
        chosen = logits[torch.arange(len(answer)), torch.tensor(answer)]
        best = logits.max(dim=1).values
        return [Verdict(float(b), float(b - c)) for b, c in zip(best, chosen, strict=True)]

    @torch.inference_mode()
    def answer(self, prompt: NDArray[np.int32], image: Patches, tokens: int) -> list[int]:
        """Its own greedy answer, by `generate`."""
        ids = self._tensor(prompt.tolist())
        out: Tensor = self._model.generate(**self._inputs(ids, image), max_new_tokens=tokens)
        token_ids: list[int] = out[0, ids.shape[1] :].tolist()
        return token_ids

    @torch.inference_mode()
    def token_seconds(self, prompt: NDArray[np.int32], tokens: int) -> float:
        """Seconds a token of `generate` with a single sequence, without prefill."""
        return (self._generate(prompt, tokens + 1) - self._generate(prompt, 1)) / tokens

    @torch.inference_mode()
    def touched(self, prompts: Sequence[NDArray[np.int32]]) -> list[int]:
        """How many experts of each layer the last tokens of all these prompts choose together."""
        layers: list[set[int]] = [set() for _ in self._routers()]
        for first in range(0, len(prompts), AT_ONCE):
            some = torch.cat([self._tensor(prompt.tolist()) for prompt in prompts[first : first + AT_ONCE]])
            with self._router_outputs() as outputs:
                self._model(input_ids=some, use_cache=False, logits_to_keep=1)
            for seen, chosen in zip(layers, outputs, strict=True):
                seen.update(chosen.view(*some.shape, -1)[:, -1].flatten().tolist())
        return [len(seen) for seen in layers]

    def _routers(self) -> list[Any]:
        return [layer.mlp.gate for layer in self._model.model.language_model.layers]

    @contextmanager
    def _router_outputs(self) -> Iterator[list[Tensor]]:
        """The experts that every token chooses (tokens, each), layer by layer."""
        outputs: list[Tensor] = []
        with ExitStack() as stack:
            for router in self._routers():
                hook = router.register_forward_hook(lambda module, given, out: outputs.append(out[-1]))
                stack.callback(hook.remove)
            yield outputs

    def _generate(self, prompt: NDArray[np.int32], tokens: int) -> float:
        ids = self._tensor(prompt.tolist())
        synchronize(self._device)
        begin = time.perf_counter()
        out = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=torch.zeros_like(ids),
            max_new_tokens=tokens,
        )
        synchronize(self._device)
        if out.shape[1] != ids.shape[1] + tokens:
            raise RuntimeError(f"generate gave {out.shape[1] - ids.shape[1]} tokens, not {tokens}")
        return time.perf_counter() - begin

    def _inputs(self, ids: Tensor, image: Patches) -> dict[str, Tensor]:
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == self._image_token_id).int(),
            "pixel_values": torch.from_numpy(image.values).to(self._device),
            "image_grid_thw": torch.tensor([image.grid_thw], device=self._device),
        }

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([ids], device=self._device)
