"""Errors of an invalid chat: a class per failure, each naming its field.

`field` is the path inside the request, such as `messages[2].role`. Messages never repeat the caller's texts.
"""

from __future__ import annotations

from fovea.contract.errors import InvalidArgument, MessagesInvalid, TemplatedError


class MessagesEmpty(MessagesInvalid):
    """A request without messages."""

    why = "at least one message is needed"


class RoleUnknown(MessagesInvalid):
    """A role that is not known."""

    why = "the role must be system, user, assistant or tool"


class MessageWithoutParts(MessagesInvalid):
    """A message without text, images and tool calls."""

    why = "a message needs at least one part"


class SystemMessageNotFirst(MessagesInvalid):
    """A system message that is not first: the published template would drop it, so it is refused."""

    why = "a system message may only be the first one"


class LastMessageNotUser(MessagesInvalid):
    """There is nothing to answer: the last message is neither the user's nor a tool's."""

    why = "the last message must be the user's or a tool's, unless continue_final_message is set"


class NothingToContinue(MessagesInvalid):
    """`continue_final_message` without an answer's text at the end."""

    why = "continue_final_message continues the text of an assistant's message without tool calls"


class ImageNotInUserMessage(MessagesInvalid):
    """An image in a message of another role: the published template would drop it, so it is refused."""

    why = "images may only stand in messages of the user and of tools"


class NotOfThisRole(MessagesInvalid):
    """A field that messages of another role have."""

    why = "messages of this role do not have it"


class ToolCallUnknown(MessagesInvalid):
    """The result of a tool call that is not in the conversation before it."""

    why = "must be the id of a tool call in an earlier message"


class ToolsInvalid(TemplatedError, InvalidArgument):
    """Tools, or calls of tools, that cannot become a prompt."""

    text = "{field} {why}"
    violation = "{field}", "{why}"
    info = ""
    field: str
    why: str


class TooManyTools(TemplatedError, InvalidArgument):
    """More tools than a request may have."""

    text = "{actual} tools are more than this server's limit of {limit}"
    violation = "tools", "more than {limit} tools"
    limit: int
    actual: int


class ToolsTooLarge(TemplatedError, InvalidArgument):
    """Tools whose names, descriptions and schemas are larger than this server accepts."""

    text = "tools have {actual} bytes; at most {limit} are allowed"
    violation = "tools", "more than {limit} bytes"
    limit: int
    actual: int


class NotInTemplate(TemplatedError, InvalidArgument):
    """What the request asks for is not in the checkpoint's chat template."""

    text = "{field} {why}"
    violation = "{field}", "{why}"
    info = "field={field}"
    field: str
    why: str


class TemplateRefused(InvalidArgument, reason="MESSAGES_INVALID"):
    """The checkpoint's chat template raised on this chat, or let caller text produce control tokens."""


class TextTooLong(TemplatedError, InvalidArgument, reason="CONTEXT_TOO_LONG"):
    """The text alone cannot fit the context. Derived from its length, without tokenising it."""

    text = "the text alone is {least_tokens} tokens or more, the context has {limit}"
    info = "limit={limit} prompt_tokens={least_tokens}"
    limit: int
    least_tokens: int
