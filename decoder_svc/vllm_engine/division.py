"""How vLLM divides a model over its ranks: layers over pipeline stages, each layer over the ranks of a stage.

vLLM finds only in its processes, by a failed assertion, what does not divide. Here it is a typed error before
any process starts. Independent of vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from decoder_svc.errors import ModelNotDivisible
from fovea.architecture import Architecture, MoeText, TextConfig


@dataclass(frozen=True)
class Division:
    """`tensor` ranks share each layer; `stages` are the layers of each pipeline stage."""

    tensor: int
    stages: tuple[int, ...]

    def check(self, model: Architecture) -> None:
        """Raises ModelNotDivisible."""
        self._check_stages(len(model.vision_config.deepstack_visual_indexes))
        heads = model.text_config.num_key_value_heads  # more ranks than heads hold copies
        if heads % self.tensor and self.tensor % heads:
            why = f"neither divides num_key_value_heads, {heads}, nor is a multiple of it"
            raise ModelNotDivisible("tensor_parallel", self.tensor, why)
        for name, width in _widths(model):
            if width % self.tensor:
                raise ModelNotDivisible("tensor_parallel", self.tensor, f"does not divide {name}, {width}")

    def _check_stages(self, levels: int) -> None:
        """vLLM adds deepstack rows after each of the first `levels` layers, and only in the first stage."""
        count, first, layers = len(self.stages), self.stages[0], sum(self.stages)
        if min(self.stages) < 1:
            raise ModelNotDivisible("pipeline_parallel", count, f"leaves a stage without a layer of {layers}")
        if count > 1 and first < levels:
            why = (
                f"gives the first stage {first} of {layers} layers, and it needs one for each of {levels}"
                " deepstack levels; VLLM_PP_LAYER_PARTITION divides otherwise"
            )
            raise ModelNotDivisible("pipeline_parallel", count, why)

    def kv_share(self, text: TextConfig) -> Fraction:
        """The share of a token's keys and values that the fullest rank holds."""
        heads = text.num_key_value_heads
        return Fraction(max(self.stages), sum(self.stages)) * Fraction(max(1, heads // self.tensor), heads)


def _widths(model: Architecture) -> Iterator[tuple[str, int]]:
    """What the ranks of a stage divide. The tower counts, because vLLM builds it before it is dropped."""
    text, vision = model.text_config, model.vision_config
    yield "num_attention_heads", text.num_attention_heads
    if isinstance(text, MoeText):
        yield "moe_intermediate_size", text.moe_intermediate_size
    if not isinstance(text, MoeText) or text.mlp_only_layers or text.decoder_sparse_step > 1:
        yield "intermediate_size", text.intermediate_size
    yield "vision_config.num_heads", vision.num_heads
    yield "vision_config.intermediate_size", vision.intermediate_size
