"""Messages with pictures, as clients of the OpenAI API write them."""

from __future__ import annotations

import base64
from typing import Any


def data_uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def user(*parts: str | dict[str, Any]) -> list[Any]:
    """A conversation of a single message; texts become parts."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return [{"role": "user", "content": content}]


def image(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}
