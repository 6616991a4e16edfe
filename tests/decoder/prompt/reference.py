"""The transformers reference for a chat: rendered text, token ids, and positions of its model class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import Qwen3VLMoeModel

from decoder_svc.prompt import ChatMessage, TextPart

PAD = "<|image_pad|>"
MERGE = 2


class Reference:
    """The tokenizer and chat template of a checkpoint folder as transformers loads them."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(directory)

    def ids(self, messages: Sequence[ChatMessage], **options: Any) -> list[int]:
        """Token ids with a placeholder for each image."""
        return list(
            self.tokenizer.apply_chat_template(
                chat(messages), tokenize=True, add_generation_prompt=True, return_dict=False, **options
            )
        )

    def rendered(self, messages: Sequence[ChatMessage]) -> str:
        text = self.tokenizer.apply_chat_template(chat(messages), tokenize=False, add_generation_prompt=True)
        return str(text)

    def expanded(self, messages: Sequence[ChatMessage], grids: Sequence[tuple[int, int, int]]) -> list[int]:
        """Expands like the processor: repeats the placeholder in the text, then tokenises."""
        pieces = self.rendered(messages).split(PAD)
        counts = [t * h * w // MERGE**2 for t, h, w in grids]
        text = pieces[0] + "".join(PAD * n + rest for n, rest in zip(counts, pieces[1:], strict=True))
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def chat(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    return [_turn(message) for message in messages]


def _turn(message: ChatMessage) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "role": message.role,
        "content": [
            {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image"}
            for part in message.parts
        ],
    }
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.tool_calls:
        turn["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": json.loads(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def positions(
    ids: Sequence[int], image_token: int, grids: Sequence[tuple[int, int, int]]
) -> tuple[np.ndarray, int]:
    """(3, L) positions and the position of the first generated token, by the model's own `get_rope_index`."""
    model = SimpleNamespace(config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=MERGE)))
    model.get_vision_position_ids = MethodType(Qwen3VLMoeModel.get_vision_position_ids, model)
    tokens = torch.tensor([list(ids)])
    positions, delta = Qwen3VLMoeModel.get_rope_index(
        model,
        tokens,
        (tokens == image_token).int(),
        image_grid_thw=torch.tensor(list(grids)) if grids else None,
    )
    return positions[:, 0].numpy(), int(delta[0, 0]) + len(ids)
