"""The Python client: ask about images, with plain values in and plain values out.

    with Client() as client:
        answer = client.ask("What is the title?", ["chart.png"])
        print(answer.text, answer.receipt.totals.visual_tokens)

Every failure is a `fovea.errors.FoveaError` with the server's own code, reason and facts; a local file that
cannot be read is an OSError. No protobuf type leaves this package, and it imports no torch.
"""

from fovea.client.decoder import DEFAULT_DECODER, Client
from fovea.client.encoder import DEFAULT_ENCODER, EncoderClient
from fovea.client.messages import Image, Message, Sampling
from fovea.client.values import Answer, Count, Finished, ServerInfo, Started, Text

__all__ = [
    "DEFAULT_DECODER",
    "DEFAULT_ENCODER",
    "Answer",
    "Client",
    "Count",
    "EncoderClient",
    "Finished",
    "Image",
    "Message",
    "Sampling",
    "ServerInfo",
    "Started",
    "Text",
]
