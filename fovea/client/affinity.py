"""The key by which a client chooses a decoder: requests with the same key begin alike.

The decoder that has computed the beginning of a prompt has its KV blocks. So requests about the same image go
to the same decoder, and so do the turns of a conversation.
"""

from __future__ import annotations

from fovea.contract.rows import digest
from fovea.decoder.v1 import decoder_pb2


def key_of(request: decoder_pb2.GenerateRequest) -> str:
    """The id of the first image, or else the text of the first message of the user. May be empty."""
    for message in request.messages:
        for part in message.parts:
            if part.image.digest:
                return part.image.digest
            if part.image.HasField("data"):
                return digest(part.image.data)
    users = (message for message in request.messages if message.role == decoder_pb2.ROLE_USER)
    first = next(users, decoder_pb2.Message())
    return "".join(part.text for part in first.parts)
