"""Converts the messages of DecoderService to the decoder's own values.

No field that a caller sets is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.prompt.messages import ChatMessage, ImagePart, Part, TextPart
from decoder_svc.request import ChatRequest, ImageInput
from decoder_svc.settings import DecoderLimits
from fovea.contract import budget
from fovea.contract.errors import ImageTooLarge, InvalidArgument, about_image
from fovea.contract.ids import is_digest
from fovea.contract.rows import digest
from fovea.contract.sampling import Sampling, format_from_proto, sampling_from_proto
from fovea.contract.tools import calls_from_proto, read_tools
from fovea.decoder.v1 import decoder_pb2

ID_CHARS = 128
SENT = frozenset({"data", "digest"})
"""Image sources of a request to answer."""
COUNTED = SENT | {"size"}
"""Image sources of a request to count."""
_ROLES = {
    decoder_pb2.ROLE_SYSTEM: "system",
    decoder_pb2.ROLE_USER: "user",
    decoder_pb2.ROLE_ASSISTANT: "assistant",
    decoder_pb2.ROLE_TOOL: "tool",
}


def sampling(
    request: decoder_pb2.GenerateRequest, default_max_new_tokens: int, defaults: Mapping[str, float]
) -> Sampling:
    """`defaults` are the checkpoint's, for a request that asks for them.

    Raises InvalidArgument for an empty response_format; the engine checks everything else.
    """
    given = sampling_from_proto(request.sampling)
    return replace(
        given.over(defaults),
        max_new_tokens=default_max_new_tokens if given.max_new_tokens is None else given.max_new_tokens,
        response_format=format_from_proto(request.response_format)
        if request.HasField("response_format")
        else None,
        logprobs=request.HasField("logprobs"),
        top_logprobs=request.logprobs.top,
    )


def _image(image: decoder_pb2.Image, path: str, sources: frozenset[str], max_bytes: int) -> ImageInput:
    source = image.WhichOneof("source")
    if source not in sources:
        raise InvalidArgument.of_field(path, "needs data or a digest")
    if source == "size":
        return ImageInput("", size=(image.size.width, image.size.height), path=path)
    if source == "digest":
        if not is_digest(image.digest):
            raise InvalidArgument.of_field(
                f"{path}.digest", "must be sha256: and 64 lower-case hexadecimal digits"
            )
        return ImageInput(image.digest, path=path)
    if len(image.data) > max_bytes:
        with about_image(path):
            raise ImageTooLarge(len(image.data), max_bytes)
    return ImageInput(digest(image.data), image.data, path=path)


class _MessageReader:
    """Reads messages and collects their images in prompt order."""

    def __init__(self, sources: frozenset[str], max_image_bytes: int) -> None:
        self.images: list[ImageInput] = []
        self._sources = sources
        self._max_image_bytes = max_image_bytes

    def message(self, message: decoder_pb2.Message, path: str) -> ChatMessage:
        return ChatMessage(
            _ROLES.get(message.role, ""),
            tuple(self._parts(message, path)),
            calls_from_proto(message.tool_calls),
            message.tool_call_id,
            message.reasoning,
        )

    def _parts(self, message: decoder_pb2.Message, path: str) -> Iterator[Part]:
        for at, part in enumerate(message.parts):
            kind = part.WhichOneof("part")
            if kind == "text":
                yield TextPart(part.text)
            elif kind == "image":
                image_path = f"{path}.parts[{at}].image"
                self.images.append(_image(part.image, image_path, self._sources, self._max_image_bytes))
                yield ImagePart(len(self.images) - 1)
            else:
                raise InvalidArgument.of_field(f"{path}.parts[{at}]", "needs a text or an image")


def fingerprint(request: decoder_pb2.GenerateRequest, tenant: str) -> str:
    """A digest of the tenant and the request, apart from what may differ between its calls."""
    same = decoder_pb2.GenerateRequest()
    same.CopyFrom(request)
    for name in ("request_id", "parent_request_id", "idempotency_key", "quote"):
        same.ClearField(name)
    for message in same.messages:
        for part in message.parts:
            if part.image.WhichOneof("source") == "data":
                part.image.digest = digest(part.image.data)
    return digest(tenant.encode() + b"\n" + same.SerializeToString(deterministic=True))


def charge_key(request: decoder_pb2.GenerateRequest, tenant: str) -> str:
    """What the retries of a call share; empty without an idempotency_key.

    It covers the request too, so that a key does not pay for several questions. Raises InvalidArgument for a
    key that is not fit.
    """
    key = request.idempotency_key
    if not key:
        return ""
    _check_id("idempotency_key", key)
    return digest(f"{key}\n{fingerprint(request, tenant)}".encode())


def parent_request_id(request: decoder_pb2.GenerateRequest) -> str:
    """Raises InvalidArgument for an id that is not fit."""
    _check_id("parent_request_id", request.parent_request_id)
    return request.parent_request_id


def _check_id(field: str, value: str) -> None:
    if len(value) > ID_CHARS or not (value.isascii() and value.isprintable()):
        what = f"must be at most {ID_CHARS} printable ASCII characters"
        raise InvalidArgument.of_field(field, what)


def chat_request(
    request: decoder_pb2.GenerateRequest,
    request_id: str,
    tenant: str,
    limits: DecoderLimits,
    defaults: ServerBudget,
    sampling_defaults: Mapping[str, float],
    sources: frozenset[str] = SENT,
) -> ChatRequest:
    """The request, with defaults for what it leaves unset. The prompt builder checks the conversation.

    Raises InvalidArgument.
    """
    budget.check(request.visual)
    reader = _MessageReader(sources, limits.max_image_bytes)
    messages = tuple(reader.message(m, f"messages[{at}]") for at, m in enumerate(request.messages))
    return ChatRequest(
        request_id,
        messages,
        tuple(reader.images),
        sampling(request, limits.default_max_new_tokens, sampling_defaults),
        budget.from_proto(request.visual).over(defaults),
        tenant,
        request.tier,
        request.hop_limit,
        allow_text_substitution=request.allow_text_substitution,
        tool_use=read_tools(request),
        thinking=request.thinking if request.HasField("thinking") else None,
        continue_final=request.continue_final_message,
    )
