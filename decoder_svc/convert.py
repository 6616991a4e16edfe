"""Converts the messages of DecoderService to the decoder's own values.

A field that is set but not served is refused by name; no field that a caller sets is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import Message as Proto

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.engine.protocol import ResponseFormat, Sampling
from decoder_svc.prompt.messages import ChatMessage, ImagePart, Part, TextPart
from decoder_svc.request import ChatRequest, ImageInput
from fovea.contract import budget
from fovea.contract.errors import ImageTooLarge, InvalidArgument, NotServed, Violation, about_image
from fovea.contract.ids import is_digest
from fovea.contract.rows import digest
from fovea.decoder.v1 import decoder_pb2

_NOT_SERVED = (
    "parent_request_id",
    "hop_limit",
    "tier",
    "allow_text_substitution",
)
SENT = frozenset({"data", "digest"})
"""Image sources of a request to answer."""
COUNTED = SENT | {"size"}
"""Image sources of a request to count."""
_ROLES = {
    decoder_pb2.ROLE_SYSTEM: "system",
    decoder_pb2.ROLE_USER: "user",
    decoder_pb2.ROLE_ASSISTANT: "assistant",
}


def _set_fields(message: Proto) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


def refuse_unserved(request: decoder_pb2.GenerateRequest) -> None:
    """Raises NotServed with the path of every field that is set but not served."""
    unserved = [name for name in _NOT_SERVED if name in _set_fields(request)]
    unserved += [f"logprobs.{name}" for name in _set_fields(request.logprobs)]
    if unserved:
        raise NotServed(*unserved)


def response_format(message: decoder_pb2.ResponseFormat) -> ResponseFormat:
    """Raises InvalidArgument if no format is given. The engine checks the format itself later."""
    kind = message.WhichOneof("format")
    if kind is None:
        raise _invalid("response_format", "needs json_schema, regex or choice")
    source = message.choice.options if kind == "choice" else [getattr(message, kind)]
    return ResponseFormat(kind, tuple(source))


def sampling(request: decoder_pb2.GenerateRequest, default_max_new_tokens: int) -> Sampling:
    message = request.sampling

    def given(name: str, default: float) -> float:
        return getattr(message, name) if message.HasField(name) else default  # type: ignore[arg-type]

    return Sampling(
        temperature=message.temperature,
        top_p=given("top_p", 1.0),
        top_k=message.top_k,
        min_p=message.min_p,
        repetition_penalty=given("repetition_penalty", 1.0),
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
        max_new_tokens=int(given("max_new_tokens", default_max_new_tokens)),
        response_format=response_format(request.response_format)
        if request.HasField("response_format")
        else None,
        logprobs=request.HasField("logprobs"),
    )


def _image(image: decoder_pb2.Image, path: str, sources: frozenset[str], max_bytes: int) -> ImageInput:
    source = image.WhichOneof("source")
    if source not in sources:
        raise _invalid(path, "needs data or a digest")
    if source == "size":
        return ImageInput("", size=(image.size.width, image.size.height), path=path)
    if source == "digest":
        if not is_digest(image.digest):
            raise _invalid(f"{path}.digest", "must be sha256: and 64 lower-case hexadecimal digits")
        return ImageInput(image.digest, path=path)
    if len(image.data) > max_bytes:
        with about_image(path):
            raise ImageTooLarge(len(image.data), max_bytes)
    return ImageInput(digest(image.data), image.data, path=path)


def _invalid(field: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{field} {what}", violations=[Violation(field, what)])


@dataclass(frozen=True)
class Defaults:
    """Defaults for fields that a request leaves unset, and the limit on image bytes."""

    max_new_tokens: int
    budget: ServerBudget
    max_image_bytes: int


class _MessageReader:
    """Reads messages and collects their images in prompt order."""

    def __init__(self, sources: frozenset[str], max_image_bytes: int) -> None:
        self.images: list[ImageInput] = []
        self._sources = sources
        self._max_image_bytes = max_image_bytes

    def message(self, message: decoder_pb2.Message, path: str) -> ChatMessage:
        return ChatMessage(_ROLES.get(message.role, ""), tuple(self._parts(message, path)))

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
                raise _invalid(f"{path}.parts[{at}]", "needs a text or an image")


def chat_request(
    request: decoder_pb2.GenerateRequest,
    request_id: str,
    defaults: Defaults,
    sources: frozenset[str] = SENT,
) -> ChatRequest:
    """Raises NotServed or InvalidArgument. The prompt builder checks the conversation."""
    refuse_unserved(request)
    budget.check(request.visual)
    reader = _MessageReader(sources, defaults.max_image_bytes)
    messages = tuple(reader.message(m, f"messages[{at}]") for at, m in enumerate(request.messages))
    return ChatRequest(
        request_id,
        messages,
        tuple(reader.images),
        sampling(request, defaults.max_new_tokens),
        budget.from_proto(request.visual).over(defaults.budget),
    )
