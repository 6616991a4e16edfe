"""The monolithic model of transformers with its own tokenizer, template, image processor and generate.

Nothing of ours computes here: only the padding of placeholders is spelled out, because the processor class
that does it needs torchvision.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration, Qwen3VLMoeForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

PAD = "<|image_pad|>"
# Below this gap between its two best logits the reference itself could say either in fp32.
TIE = 1e-4


@dataclass(frozen=True)
class Said:
    """A greedy answer, and for each of its tokens the gap between the two best logits."""

    token_ids: tuple[int, ...]
    gaps: tuple[float, ...]


class Monolith:
    """A checkpoint folder as transformers loads it, in fp32 on the CPU."""

    def __init__(self, folder: Path) -> None:
        moe = json.loads((folder / "config.json").read_text())["model_type"] == "qwen3_vl_moe"
        family = Qwen3VLMoeForConditionalGeneration if moe else Qwen3VLForConditionalGeneration
        self.model = family.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
        self.merge = self.model.config.vision_config.spatial_merge_size

    def inputs(
        self, text: str, images: Sequence[bytes], max_pixels: int | None = None
    ) -> dict[str, torch.Tensor]:
        """A user message: the images, then the text."""
        content: list[dict[str, Any]] = [{"type": "image"} for _ in images]
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": [*content, {"type": "text", "text": text}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        pixels = self._pixels(images, max_pixels) if images else {}
        counts = [int(grid.prod()) // self.merge**2 for grid in pixels.get("image_grid_thw", ())]
        pieces = rendered.split(PAD)
        expanded = pieces[0] + "".join(PAD * n + rest for n, rest in zip(counts, pieces[1:], strict=True))
        ids = self.tokenizer(expanded, add_special_tokens=False, return_tensors="pt")["input_ids"]
        types = (ids == self.model.config.image_token_id).int()
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": types,
            **pixels,
        }

    def _pixels(self, images: Sequence[bytes], max_pixels: int | None) -> dict[str, torch.Tensor]:
        shown = [Image.open(io.BytesIO(data)).convert("RGB") for data in images]
        size = dict(self.processor.size)
        if max_pixels is not None:
            size["longest_edge"] = max_pixels
        made = self.processor(images=shown, size=size, return_tensors="pt")
        return {"pixel_values": made["pixel_values"], "image_grid_thw": made["image_grid_thw"]}

    @torch.inference_mode()
    def answer(self, inputs: dict[str, torch.Tensor], tokens: int) -> Said:
        out = self.model.generate(
            **inputs, max_new_tokens=tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        best = torch.cat(out.logits).float().topk(2).values
        said = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        return Said(tuple(said), tuple((best[:, 0] - best[:, 1]).tolist()))
