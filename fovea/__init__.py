"""Shared by both services and every Python caller: the contract, token arithmetic, the client.

    from fovea import Client

    with Client("127.0.0.1:50052") as client:
        answer = client.ask("What is the title?", ["chart.png"])
        print(answer.text, answer.receipt.totals.visual_tokens)

Independent of models and torch. The clients are imported on first access, so services start without them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fovea.client import (
        Answer,
        AsyncClient,
        AsyncEncoderClient,
        Budget,
        Client,
        EncoderClient,
        Format,
        Image,
        Message,
        Sampling,
        Size,
        Tls,
        Tool,
        ToolCall,
        ToolChoice,
        fit,
    )
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from fovea import client

        return getattr(client, name)


__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncEncoderClient",
    "Budget",
    "Client",
    "EncoderClient",
    "Format",
    "Image",
    "Message",
    "Sampling",
    "Size",
    "Tls",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "fit",
]
