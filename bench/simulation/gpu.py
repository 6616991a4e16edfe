"""The cost of the stages of 30B-A3B on a GPU, from arithmetic. Derived, not measured.

Work counts matrix products and attention (`bench.parts.roofline`). A GPU reaches a share of its best rates,
which is an assumption. Event loops keep the CPU times that were measured with the stand-in, plus those of
sending and receiving rows as wide as the model's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from transformers import Qwen3VLMoeConfig

from bench.parts.roofline import TextSize, expected_distinct, vision_flops
from bench.simulation.costs import Costs
from bench.simulation.decoder import Limits
from bench.simulation.fleet import Shape
from decoder_svc.budget.cost import PrefillCost

MODEL = Path(__file__).parents[1] / "parts" / "qwen3_vl_30b_a3b.json"
ITEMSIZE = 2
"""Bytes of a bf16 value."""
LIMITS = Limits(max_running=64)
"""The decoder's defaults on a GPU."""


@dataclass(frozen=True)
class Gpu:
    """Best rates, the shares of them that kernels reach, and the price of an hour, with its host."""

    name: str = "H200"
    flops_per_s: float = 790e12
    bytes_per_s: float = 4.3e12
    compute_share: float = 0.4
    memory_share: float = 0.5
    hour: float = 3.0

    @property
    def flop_s(self) -> float:
        return 1 / (self.flops_per_s * self.compute_share)

    @property
    def byte_s(self) -> float:
        return 1 / (self.bytes_per_s * self.memory_share)


@dataclass(frozen=True)
class Traffic:
    """Every request has a picture of `patches` patches, `text` tokens of text and an answer of `tokens`. A
    share `new` of the pictures was never seen; the rows of the others are stored.
    """

    patches: int = 4096
    text: int = 64
    tokens: int = 128
    new: float = 0.5

    @property
    def visual(self) -> int:
        return self.patches // 4

    @property
    def shape(self) -> Shape:
        return Shape(self.patches, self.visual + self.text, self.tokens, batch=16_384)


class Model:
    """Sizes of the published model."""

    def __init__(self) -> None:
        config = json.loads(MODEL.read_text(encoding="utf-8"))
        self._config = Qwen3VLMoeConfig(**config)
        self._prefill = PrefillCost.of(config["text_config"])
        text, vision = config["text_config"], config["vision_config"]
        self.row_bytes = ITEMSIZE * text["hidden_size"] * (1 + len(vision["deepstack_visual_indexes"]))

    @cached_property
    def _text(self) -> TextSize:
        return TextSize.of(self._config)

    def tower_flops(self, patches: int) -> float:
        return vision_flops(self._config.vision_config, patches)

    def prefill_flops(self, tokens: int) -> float:
        return self._prefill.flops(tokens)

    def step_bytes(self, decoding: int, context: int) -> float:
        """What a step of `decoding` sequences reads, with `context` tokens of KV each."""
        text = self._text
        distinct = [expected_distinct(text.experts, text.each, decoding)] * text.layers
        return text.step_bytes(distinct, decoding * context, ITEMSIZE)


@dataclass(frozen=True)
class GpuCosts(Costs):
    """`steps` are the seconds of a step by the number of sequences that decode; 0 of them read nothing."""

    steps: Sequence[float] = (0.0,)

    def step_s(self, decoding: int, prefilled: int) -> float:
        return self.steps[decoding] + prefilled * self.prefill_token


@dataclass(frozen=True)
class RowCosts:
    """CPU seconds of the event loops to send and to receive a row of the model's width."""

    send: float
    receive: float


def costs(measured: Costs, rows: RowCosts, model: Model, gpu: Gpu, traffic: Traffic) -> GpuCosts:
    """The measured costs of event loops and workers, with those of the GPU and of wide rows."""
    shape = traffic.shape
    context = shape.prompt + shape.tokens // 2
    steps = [0.0, *(model.step_bytes(n, context) * gpu.byte_s for n in range(1, LIMITS.max_running + 1))]
    kept = {name: value for name, value in vars(measured).items() if name not in ("steps",)}
    common = GpuCosts(**kept, steps=tuple(steps))
    return replace(
        common,
        decoder_ask=measured.decoder_ask + traffic.visual * rows.receive,
        encoder_new=measured.encoder_new + traffic.visual * rows.send,
        encoder_hit=measured.encoder_hit + traffic.visual * rows.send,
        tower_call=0.0,
        tower_patch=model.tower_flops(traffic.patches) / traffic.patches * gpu.flop_s,
        prefill_token=model.prefill_flops(shape.prompt) / shape.prompt * gpu.flop_s,
    )
