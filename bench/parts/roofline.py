"""The best rates of the device, and the work of a Qwen3-VL according to its config.

The rates use random data, because products of zeros draw less power and run faster. Arithmetic counts matrix
products and attention only, a multiplication and an addition as two operations.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen3VLMoeForConditionalGeneration

ROUNDS = 20


@dataclass(frozen=True)
class Roofline:
    """Bytes copied a second, those read and those written, and the rate of a large matrix product."""

    bytes_per_s: float
    flops_per_s: float


def measure(device: torch.device, dtype: torch.dtype, copied: int, side: int) -> Roofline:
    """With `copied` bytes a copy and square matrices of `side`."""
    source = torch.randint(255, (copied,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return Roofline(
        2 * copied / _median_s(device, lambda: target.copy_(source)),
        2 * side**3 / _median_s(device, lambda: torch.matmul(a, b, out=out)),
    )


def _median_s(device: torch.device, step: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        step()
        synchronize(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[ROUNDS // 4 :])


def synchronize(device: torch.device) -> None:
    """Return when the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def expected_distinct(experts: int, each: int, tokens: int) -> float:
    """Expected number of experts of a layer that `tokens` tokens touch, if each selects `each` at random."""
    return experts * (1 - (1 - each / experts) ** tokens)


@dataclass(frozen=True)
class TextSize:
    """An MoE language model: `experts` in each of its `layers`, of which a token chooses `each`.

    `expert` are the values of an expert of a layer, `kv` those that a token keeps. `others` are those that
    every step reads whatever the routers choose: attention, routers, norms, the head. The few rows that a
    step reads of the embedding are negligible.
    """

    layers: int
    experts: int
    each: int
    expert: int
    others: int
    kv: int

    @classmethod
    def of(cls, config: Any) -> TextSize:
        """From the config of transformers, by the parameters of its modules."""
        text = config.text_config
        with torch.device("meta"):
            model = Qwen3VLMoeForConditionalGeneration(config)
        sizes = {
            name: parameter.numel()
            for name, parameter in model.named_parameters()
            if ".visual." not in name and "embed_tokens" not in name
        }
        routed = sum(size for name, size in sizes.items() if ".experts." in name)
        return cls(
            layers=text.num_hidden_layers,
            experts=text.num_experts,
            each=text.num_experts_per_tok,
            expert=routed // (text.num_hidden_layers * text.num_experts),
            others=sum(sizes.values()) - routed,
            kv=2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim,
        )

    def step_bytes(self, distinct: Sequence[float], context: float, itemsize: int) -> float:
        """What a decode step must read: the `distinct` experts that each layer touches, the other weights
        once, and the KV of `context` tokens, those of all its sequences together.
        """
        return itemsize * (sum(distinct) * self.expert + self.others + context * self.kv)


def vision_flops(config: Any, patches: int) -> float:
    """The arithmetic of an image, from the vision config: all patches attend to each other."""
    h, merged = config.hidden_size, config.spatial_merge_size**2
    patch_values = config.in_channels * config.temporal_patch_size * config.patch_size**2
    block = 2.0 * patches * (4 * h * h + 2 * h * config.intermediate_size) + 4.0 * patches**2 * h
    merger = 2.0 * (patches / merged) * merged * h * (merged * h + config.out_hidden_size)
    mergers = 1 + len(config.deepstack_visual_indexes)
    return float(2 * patches * patch_values * h + config.depth * block + mergers * merger)
