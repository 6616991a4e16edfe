"""The contract's field paths under the names that a client of the OpenAI API knows."""

from __future__ import annotations

import re

_RULES = (
    (r"^request\.", ""),
    (r"\.parts\[(\d+)\]\.image.*", r".content[\1].image_url"),
    (r"\.parts\[(\d+)\].*", r".content[\1]"),
    (r"\.parts$", ".content"),
    (r"^sampling\.max_new_tokens$", "max_completion_tokens"),
    (r"^max_new_tokens$", "max_completion_tokens"),
    (r"^sampling\.", ""),
    (r"^logprobs\.top$", "top_logprobs"),
    (r"^response_format\.json_schema$", "response_format.json_schema.schema"),
    (r"^response_format\.(regex|choice).*", r"fovea.\1"),
    (r"^tools\[(\d+)\]\.(?!function)(\w+)", r"tools[\1].function.\2"),
    (r"^tool_choice\.name$", "tool_choice.function.name"),
    (r"^tool_choice\.mode$", "tool_choice"),
    (r"^thinking$", "reasoning_effort"),
    (r"^visual\.reduction\.mode$", "fovea.budget.reduction"),
    (r"^visual\.reduction\.", "fovea.budget."),
    (r"^visual(?=\.|$)", "fovea.budget"),
    (
        r"^(quote|tier|hop_limit|idempotency_key|parent_request_id|allow_text_substitution)$",
        r"fovea.\1",
    ),
)
_COMPILED = tuple((re.compile(pattern), name) for pattern, name in _RULES)


def public_name(path: str) -> str:
    """`sampling.top_p` is `top_p`; `messages[0].parts[1].image` is `messages[0].content[1].image_url`."""
    for pattern, name in _COMPILED:
        path = pattern.sub(name, path)
    return path
