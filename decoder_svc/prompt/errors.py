"""Errors of an invalid chat: a class per failure, each naming its field.

`field` is the path inside the request, such as `messages[2].role`. Messages never repeat the caller's texts.
"""

from __future__ import annotations

from fovea.contract.errors import InvalidArgument, MessagesInvalid, TemplatedError


class MessagesEmpty(MessagesInvalid):
    """A request without messages."""

    why = "at least one message is needed"


class RoleUnknown(MessagesInvalid):
    """A role other than system, user or assistant."""

    why = "the role must be system, user or assistant"


class MessageWithoutParts(MessagesInvalid):
    """A message without text and images."""

    why = "a message needs at least one part"


class SystemMessageNotFirst(MessagesInvalid):
    """A system message that is not first: the published template would drop it, so it is refused."""

    why = "a system message may only be the first one"


class LastMessageNotUser(MessagesInvalid):
    """There is nothing to answer: the last message is not the user's."""

    why = "the last message must be the user's"


class ImageNotInUserMessage(MessagesInvalid):
    """An image in a message of another role: the published template would drop it, so it is refused."""

    why = "images may only stand in user messages"


class TemplateRefused(InvalidArgument, reason="MESSAGES_INVALID"):
    """The checkpoint's chat template raised on this chat, or let caller text produce control tokens."""


class TextTooLong(TemplatedError, InvalidArgument, reason="CONTEXT_TOO_LONG"):
    """The text alone cannot fit the context. Derived from its length, without tokenising it."""

    text = "the text alone is {least_tokens} tokens or more, the context has {limit}"
    info = "limit={limit} prompt_tokens={least_tokens}"
    limit: int
    least_tokens: int
