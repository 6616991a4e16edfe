"""A conversation as a Python caller writes it, and the request built from it.

The request references image files by id; the files are listed beside it, to be stored first. Nothing is sent
from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from fovea.client.fitting import fit
from fovea.client.sources import ACCEPTED, File, is_source, name_of
from fovea.client.upload import FileUpload
from fovea.contract import budget as budget_codec
from fovea.contract.answer import Answer
from fovea.contract.budget import UNDECIDED, Budget
from fovea.contract.count import Quote
from fovea.contract.ids import is_digest
from fovea.contract.sampling import (
    DEFAULT_SAMPLING,
    ResponseFormat,
    Sampling,
    format_to_proto,
    sampling_to_proto,
)
from fovea.contract.tools import Tool, ToolCall, ToolChoice, ToolUse, calls_to_proto, write_tools
from fovea.decoder.v1 import decoder_pb2
from fovea.vision.v1 import image_pb2

Source = File
"""As `fovea.client.sources.File`, or the id (`sha256:<hex>`) of a stored image."""


@dataclass(frozen=True)
class Size:
    """The size of an image, in place of an image that has not been sent. Only for `count`."""

    width: int
    height: int


_ROLES = {
    "system": decoder_pb2.ROLE_SYSTEM,
    "user": decoder_pb2.ROLE_USER,
    "assistant": decoder_pb2.ROLE_ASSISTANT,
    "tool": decoder_pb2.ROLE_TOOL,
}


@dataclass(frozen=True)
class Image:
    """An image of a message, or its size. `name` is its name in errors, by default its path."""

    source: Source | Size
    name: str = ""


Images = Source | Image | Iterable[Source | Image]
"""An image, or several in the order in which the model sees them."""

Sized = Images | Size | Iterable[Source | Image | Size]
"""Like `Images`; a size may stand for an image that is not available."""


@dataclass(frozen=True)
class Message:
    """A turn. Parts are text or Images, in the order in which the model reads them; a single part needs no
    list. An assistant's turn may have the tool calls and the reasoning of its answer; a tool's turn is the
    result of the call `tool_call_id`.
    """

    role: Literal["system", "user", "assistant", "tool"]
    parts: str | Image | Sequence[str | Image] = ()
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str = ""
    reasoning: str = ""

    @classmethod
    def of_answer(cls, answer: Answer) -> Message:
        """The turn of an earlier answer."""
        text = [answer.text] if answer.text or not answer.tool_calls else []
        return cls("assistant", text, answer.tool_calls, reasoning=answer.reasoning)

    @classmethod
    def result(cls, call: ToolCall, *parts: str | Image) -> Message:
        """The result of a tool call."""
        return cls("tool", parts, tool_call_id=call.id)


class Options(TypedDict, total=False):
    """The options of a question, the same for an answer, a stream and a count.

    `budget` bounds the cost of images; `max_pixels` is shorthand for a budget that shrinks each image to at
    most that many pixels (server default 1310720). `fit` shrinks files before upload, as far as the budget
    allows for their size. `request_id` names the request in the servers' logs. `response_format` constrains
    the answer (structured output). `logprobs` requests the log-probability of every token, and `top_logprobs`
    of as many of the most likely tokens at its position. Retries with the same `idempotency_key` and the same
    request are charged once. With the `quote` of a count the request costs no more than that, or is refused.
    `tier` names the tier that must answer; `hop_limit` is the most tiers that may run a model, 0 for any
    number. `parent_request_id` is recorded with the request. `allow_text_substitution` lets text read from an
    image replace its pixels where that is cheaper.

    `tools` are the tools that the model may call; `tool_choice` is `auto`, `none`, `required` or the name of
    the tool to call; `parallel_tool_calls` False allows a single call. `thinking` switches reasoning where
    the checkpoint can. With `continue_final_message` the answer continues the last message, the assistant's.
    """

    max_pixels: int | None
    budget: Budget
    sampling: Sampling
    request_id: str
    fit: bool
    response_format: ResponseFormat | None
    logprobs: bool
    top_logprobs: int
    idempotency_key: str
    quote: Quote | None
    tier: str
    hop_limit: int
    parent_request_id: str
    allow_text_substitution: bool
    tools: Sequence[Tool]
    tool_choice: ToolChoice | str
    parallel_tool_calls: bool
    thinking: bool | None
    continue_final_message: bool


@dataclass(frozen=True)
class RequestDraft:
    """A request, and the files that must be stored first.

    `names` maps the path of an image in the request to its name in errors.
    """

    request: decoder_pb2.GenerateRequest
    uploads: tuple[FileUpload, ...]
    names: Mapping[str, str] = field(default_factory=dict)


LIGHT_BYTES = 256 * 1024
"""Images of this many bytes are hashed in less time than a thread takes."""


def is_light(text: str | Message | Sequence[Message], images: Sized, options: Options) -> bool:
    """Whether the draft of a conversation reads no file and hashes few bytes, so that it needs no thread."""
    images_apart = not isinstance(images, tuple) or images
    if not isinstance(text, list | tuple) or images_apart or options.get("fit"):
        return False
    sources = [
        part.source
        for message in text
        if isinstance(message, Message) and not isinstance(message.parts, str)
        for part in ([message.parts] if isinstance(message.parts, Image) else message.parts)
        if isinstance(part, Image)
    ]
    data = [source for source in sources if isinstance(source, bytes)]
    ids = [source for source in sources if isinstance(source, str) and is_digest(source)]
    return len(data) + len(ids) == len(sources) and sum(map(len, data)) <= LIGHT_BYTES


def draft_request(
    text: str | Message | Sequence[Message],
    images: Sized = (),
    max_pixels: int | None = None,
    budget: Budget = UNDECIDED,
    sampling: Sampling = DEFAULT_SAMPLING,
    request_id: str = "",
    fit: bool = False,
    response_format: ResponseFormat | None = None,
    logprobs: bool = False,
    top_logprobs: int = 0,
    idempotency_key: str = "",
    quote: Quote | None = None,
    tier: str = "",
    hop_limit: int = 0,
    parent_request_id: str = "",
    allow_text_substitution: bool = False,
    tools: Sequence[Tool] = (),
    tool_choice: ToolChoice | str = "auto",
    parallel_tool_calls: bool = True,
    thinking: bool | None = None,
    continue_final_message: bool = False,
) -> RequestDraft:
    """Hash the files of a question and build its request, with the options of `Options`.

    With a text, images come first, so that another question about the same images gets a prefix hit. Raises
    OSError for an unreadable file, ValueError for contradictory options, and the errors of
    `fovea.client.sources`.
    """
    budget = budget.with_pixels(max_pixels)
    uploads, messages = _Uploads(budget, fit), _messages(text, images)
    request = decoder_pb2.GenerateRequest(
        messages=[_message(message, f"messages[{at}]", uploads) for at, message in enumerate(messages)],
        sampling=sampling_to_proto(sampling),
        visual=budget_codec.to_proto(budget),
        request_id=request_id,
        response_format=format_to_proto(response_format or sampling.response_format),
        logprobs=_logprobs(logprobs or sampling.logprobs, top_logprobs or sampling.top_logprobs),
        idempotency_key=idempotency_key,
        quote=quote.token if quote else "",
        tier=tier,
        hop_limit=hop_limit,
        parent_request_id=parent_request_id,
        allow_text_substitution=allow_text_substitution,
        thinking=thinking,
        continue_final_message=continue_final_message,
    )
    write_tools(ToolUse(tuple(tools), ToolChoice.of(tool_choice), parallel_tool_calls), request)
    return RequestDraft(request, tuple(uploads.by_digest.values()), uploads.names)


def _logprobs(wanted: bool, top: int) -> decoder_pb2.Logprobs | None:
    """Raises ValueError for a number that the contract cannot carry."""
    return decoder_pb2.Logprobs(top=top) if wanted or top else None


def _messages(text: str | Message | Sequence[Message], images: Sized) -> Sequence[Message]:
    listed = _listed(images)
    if isinstance(text, str):
        return [Message("user", [*listed, text])]
    if listed:
        raise ValueError("images of a conversation belong in its messages, as Image parts")
    return [text] if isinstance(text, Message) else text


def _listed(images: Any) -> list[Image]:
    """The images of a question as a list; a single image needs no list."""
    if images is None:
        return []
    if is_source(images) or isinstance(images, Image | Size):
        images = [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise TypeError(f"images cannot be a {type(images).__name__}: give {ACCEPTED}, or a list of these")
    return [image if isinstance(image, Image) else Image(image) for image in images]


def id_of(image: Source) -> str:
    """The id of an image, given as the id itself or as a file. Raises OSError for an unreadable file.

    The server refuses an id that is not well-formed.
    """
    return image if isinstance(image, str) and image.startswith("sha256:") else FileUpload.of(image).digest


class _Uploads:
    """The files of a request by id, each once; shrunk if requested."""

    def __init__(self, budget: Budget, shrink: bool) -> None:
        self.by_digest: dict[str, FileUpload] = {}
        self.names: dict[str, str] = {}
        self._budget = budget
        self._shrink = shrink

    def image(self, image: Image, path: str) -> decoder_pb2.Image:
        """`path` is the image's path in the request; errors use it for an image without a name."""
        source = image.source
        if isinstance(source, Size):
            self.names[path] = image.name or path
            return decoder_pb2.Image(size=image_pb2.Size(width=source.width, height=source.height))
        if isinstance(source, str) and is_digest(source):
            self.names[path] = image.name or path
            return decoder_pb2.Image(digest=source)
        name = self.names[path] = image.name or name_of(source) or path
        upload = FileUpload.of(fit(source, budget=self._budget) if self._shrink else source, name)
        self.by_digest.setdefault(upload.digest, upload)
        return decoder_pb2.Image(digest=upload.digest)


def _message(message: Message, path: str, uploads: _Uploads) -> decoder_pb2.Message:
    if not isinstance(message, Message):
        raise TypeError(
            f"{path} is a {type(message).__name__}: a conversation is a list of fovea.client.Message"
        )
    if message.role not in _ROLES:
        raise ValueError(f"{path}.role is {message.role!r}: it must be {', '.join(_ROLES)}")
    parts = [message.parts] if isinstance(message.parts, str | Image) else message.parts
    return decoder_pb2.Message(
        role=_ROLES[message.role],
        parts=[_part(part, f"{path}.parts[{at}]", uploads) for at, part in enumerate(parts)],
        tool_calls=calls_to_proto(message.tool_calls),
        tool_call_id=message.tool_call_id,
        reasoning=message.reasoning,
    )


def _part(part: str | Image, path: str, uploads: _Uploads) -> decoder_pb2.Part:
    if isinstance(part, str):
        return decoder_pb2.Part(text=part)
    if not isinstance(part, Image):
        raise TypeError(f"{path} is a {type(part).__name__}: a part is text or a fovea.client.Image")
    return decoder_pb2.Part(image=uploads.image(part, f"{path}.image"))
