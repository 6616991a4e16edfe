"""Qwen3-VL for vLLM without a tower: rows come from our encoder, and a reduced image keeps its positions.

vLLM's own video pruning decides inside the model what it drops, so it carries positions beside the
embeddings. Our reduction is decided before a request is submitted, so positions follow from the request and
only `get_mrope_input_positions` differs. It uses the function that builds the native engine's prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from vllm.model_executor.models.qwen3_vl import Qwen3VLDummyInputsBuilder, Qwen3VLForConditionalGeneration
from vllm.model_executor.models.qwen3_vl_moe import Qwen3VLMoeForConditionalGeneration
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY

from decoder_svc.engine.protocol import ImageSpan
from decoder_svc.prompt.positions import mrope_positions
from decoder_svc.vllm_engine.fields import MoeRowsInfo, RowsInfo, RowsProcessor

NO_TOWER_WEIGHTS = WeightsMapper(orig_to_new_prefix={"model.visual.": None})


class NoTower(torch.nn.Module):
    """Replaces the tower. Has the attributes that the model reads without running the tower."""

    def __init__(self, dtype: torch.dtype, merge: int) -> None:
        super().__init__()
        self.dtype = dtype
        self.spatial_merge_size = merge


class FromRows:
    """What our two classes change in vLLM's."""

    hf_to_vllm_mapper = Qwen3VLForConditionalGeneration.hf_to_vllm_mapper | NO_TOWER_WEIGHTS

    def drop_tower(self: Any) -> None:
        """Drop the tower, which was built uninitialised with the model. Its weights are never read."""
        self.visual = NoTower(self.model_config.dtype, self.config.vision_config.spatial_merge_size)

    def embed_multimodal(self: Any, **inputs: Any) -> tuple[torch.Tensor, ...]:
        """A tensor (rows, width * levels) for each image."""
        sizes = inputs["image_rows"].flatten().tolist()
        return tuple(inputs["image_embeds"].to(self.visual.dtype).split(sizes))

    def get_mrope_input_positions(
        self: Any, input_tokens: Sequence[int], mm_features: Sequence[Any]
    ) -> tuple[torch.Tensor, int]:
        images = [_span(feature) for feature in sorted(mm_features, key=lambda f: f.mm_position.offset)]
        positions, following = mrope_positions(len(input_tokens), images, self.visual.spatial_merge_size)
        return torch.from_numpy(positions).long(), following - len(input_tokens)


def _span(feature: Any) -> ImageSpan:
    t, h, w = feature.data["image_grid_thw"].data.flatten().tolist()
    kept = feature.data["image_kept"].data.cpu().numpy()
    return ImageSpan(feature.mm_position.offset, (t, h, w), feature.mm_position.length, kept)


@MULTIMODAL_REGISTRY.register_processor(RowsProcessor, info=RowsInfo, dummy_inputs=Qwen3VLDummyInputsBuilder)
class FoveaQwen3VLForConditionalGeneration(FromRows, Qwen3VLForConditionalGeneration):
    def __init__(self, *, vllm_config: Any, prefix: str = "model") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.drop_tower()


@MULTIMODAL_REGISTRY.register_processor(
    RowsProcessor, info=MoeRowsInfo, dummy_inputs=Qwen3VLDummyInputsBuilder
)
class FoveaQwen3VLMoeForConditionalGeneration(FromRows, Qwen3VLMoeForConditionalGeneration):
    def __init__(self, *, vllm_config: Any, prefix: str = "model") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.drop_tower()
