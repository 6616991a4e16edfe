"""The Python client: ask about images, with plain values as input and output.

    from fovea import Client

    with Client() as client:
        answer = client.ask("What is the title?", ["chart.png"])
        print(answer.text, answer.receipt.totals.visual_tokens)

With asyncio, streaming the answer:

    from fovea import AsyncClient

    async with AsyncClient() as client:
        async for event in client.stream("What is the title?", ["chart.png"]):
            print(event)

`EncoderClient` and `AsyncEncoderClient` manage an encoder's cache and fetch rows. Failures of a call are
`fovea.client.errors`, a class per reason; an unreadable local file is an OSError. No protobuf type leaves
this package, and it does not import torch.
"""

from fovea.client.decoder import DEFAULT_DECODER, AsyncClient, Client
from fovea.client.encoder import DEFAULT_ENCODER, AsyncEncoderClient, EncoderClient
from fovea.client.fitting import fit
from fovea.client.messages import Image, Message, Size
from fovea.client.tls import Tls
from fovea.contract.answer import Answer, Finished, Started, Text, TokenLogprob
from fovea.contract.budget import Budget
from fovea.contract.count import Count
from fovea.contract.info import ServerInfo
from fovea.contract.sampling import ResponseFormat as Format
from fovea.contract.sampling import Sampling
from fovea.contract.tools import Tool, ToolCall, ToolCallDelta, ToolChoice
from fovea.contract.usage import Anomaly, UsageRecord, UsageSummary

__all__ = [
    "DEFAULT_DECODER",
    "DEFAULT_ENCODER",
    "Anomaly",
    "Answer",
    "AsyncClient",
    "AsyncEncoderClient",
    "Budget",
    "Client",
    "Count",
    "EncoderClient",
    "Finished",
    "Format",
    "Image",
    "Message",
    "Sampling",
    "ServerInfo",
    "Size",
    "Started",
    "Text",
    "Tls",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "UsageRecord",
    "UsageSummary",
    "fit",
]
