"""An image as vLLM sees it: rows, their grid, and their indices in the grid.

vLLM knows `image_embeds` and `image_grid_thw`, and expects all rows of an image. This module declares two
more fields to its parser and processor, `image_rows` (the number of rows of each image) and `image_kept`
(their raster indices), so that a reduced image has as many placeholders as rows. Independent of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm.model_executor.models.qwen2_vl import _create_qwen2vl_field_factory
from vllm.model_executor.models.qwen3_vl import (
    Qwen3VLMultiModalDataParser,
    Qwen3VLMultiModalProcessor,
    Qwen3VLProcessingInfo,
)
from vllm.model_executor.models.qwen3_vl_moe import Qwen3VLMoeProcessingInfo
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import DictEmbeddingItems
from vllm.multimodal.processing import PromptReplacement

Fields = dict[str, Any]


def fields_of(inputs: Mapping[str, Any], merge: int) -> Fields:
    """How tensors of a request are cut into images. A dummy image lacks our fields and is cut as in vLLM."""
    fields: Fields = dict(_create_qwen2vl_field_factory(merge)(inputs))
    if "image_rows" not in inputs:
        return fields
    rows = inputs["image_rows"].flatten()
    return fields | {
        "image_embeds": MultiModalFieldConfig.flat_from_sizes("image", rows),
        "image_kept": MultiModalFieldConfig.flat_from_sizes("image", rows, keep_on_cpu=True),
        "image_rows": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
    }


class RowsParser(Qwen3VLMultiModalDataParser):
    """Parses an image as rows, with our two fields."""

    embedding_fields = {  # noqa: RUF012  as vLLM declares it
        "image": {
            "image_embeds": "values",
            "image_grid_thw": "metadata",
            "image_kept": "metadata",
            "image_rows": "metadata",
        }
    }

    def _parse_image_data(self, data: Any) -> Any:
        if not isinstance(data, dict):
            return super()._parse_image_data(data)
        required, optional = self.embedding_field_sets("image")
        return DictEmbeddingItems(
            data,
            modality="image",
            required_fields=required,
            optional_fields=optional,
            fields_factory=lambda inputs: fields_of(inputs, self._spatial_merge_size),
        )


def _parser(info: Any) -> RowsParser:
    return RowsParser(
        info.get_hf_config().vision_config.spatial_merge_size,
        video_needs_metadata=True,
        expected_hidden_size=info._get_expected_hidden_size(),
    )


class RowsInfo(Qwen3VLProcessingInfo):
    def get_data_parser(self) -> RowsParser:
        return _parser(self)


class MoeRowsInfo(Qwen3VLMoeProcessingInfo):
    def get_data_parser(self) -> RowsParser:
        return _parser(self)


class RowsProcessor(Qwen3VLMultiModalProcessor):
    """Expands each placeholder to as many tokens as its image has rows."""

    def _get_mm_fields_config(self, hf_inputs: Mapping[str, Any], hf_processor_mm_kwargs: Any) -> Fields:
        return fields_of(hf_inputs, self.info.get_hf_config().vision_config.spatial_merge_size)

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Any, out_mm_kwargs: Any
    ) -> Sequence[PromptReplacement]:
        config = self.info.get_hf_config()

        def placeholders(index: int) -> list[int]:
            item = out_mm_kwargs["image"][index]
            if "image_rows" in item:
                rows = int(item["image_rows"].data)
            else:
                rows = int(item["image_grid_thw"].data.prod()) // config.vision_config.spatial_merge_size**2
            return [config.image_token_id] * rows

        return [PromptReplacement("image", target=[config.image_token_id], replacement=placeholders)]
