"""A chat request and what it costs: plain values, no protobuf.

An image is given by its bytes or by the digest of a stored image. An ImagePart of `messages` holds its index
in `images`.
"""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.prompt.messages import ChatMessage, ChatOptions
from fovea.contract.sampling import Sampling
from fovea.contract.tools import NO_TOOLS, ToolUse
from fovea.server.identity import DEFAULT_TENANT


@dataclass(frozen=True)
class ImageInput:
    """`data` is None if the caller names a stored image. With `size` there is no image and no digest: only
    its cost is counted. `path` is the image's field in the request, for errors.
    """

    digest: str
    data: bytes | None = None
    size: tuple[int, int] | None = None
    path: str = ""


@dataclass(frozen=True)
class ChatRequest:
    """A conversation to continue. `tenant` is that of the caller, and scopes all that is cached of it.

    `tier` is the tier that must answer, empty for any. `hop_limit` is the most tiers that may run a model;
    0 is no limit. `allow_text_substitution` allows text read from images in their place; `read_images` are
    the ids of the images that `messages` hold as text. `thinking` None leaves it to the chat template whether
    the model reasons first. With `continue_final` the answer continues the last message.
    """

    id: str
    messages: tuple[ChatMessage, ...]
    images: tuple[ImageInput, ...]
    sampling: Sampling
    budget: ServerBudget
    tenant: str = DEFAULT_TENANT
    tier: str = ""
    hop_limit: int = 0
    allow_text_substitution: bool = False
    read_images: tuple[str, ...] = ()
    tool_use: ToolUse = NO_TOOLS
    thinking: bool | None = None
    continue_final: bool = False

    @property
    def chat_options(self) -> ChatOptions:
        """What the chat template gets besides the messages."""
        return ChatOptions(self.tool_use.shown, self.thinking, self.continue_final)

    @property
    def is_plain(self) -> bool:
        """Whether it asks for an answer of text alone."""
        return not (self.tool_use.shown or self.continue_final)

    @property
    def inline(self) -> dict[str, bytes]:
        """The files that the request brings, by id."""
        return {image.digest: image.data for image in self.images if image.data is not None}


@dataclass(frozen=True)
class TokenCost:
    """Tokens of a prompt: text, bounds of the visual tokens, rows of the distinct images."""

    text_tokens: int
    visual_tokens: int
    visual_tokens_min: int
    rows: int

    @property
    def prompt_tokens(self) -> int:
        return self.text_tokens + self.visual_tokens
