"""What can be wrong with a chat before anything is run: one class per failure, each naming its field.

`field` is the path inside the request, such as `messages[2].role`. Texts of the caller are never repeated.
"""

from __future__ import annotations

from fovea.contract.errors import InvalidArgument, MessagesInvalid


class MessagesEmpty(MessagesInvalid):
    """Nothing was asked."""

    why = "at least one message is needed"


class RoleUnknown(MessagesInvalid):
    """A role outside of system, user and assistant."""

    why = "the role must be system, user or assistant"


class MessageWithoutParts(MessagesInvalid):
    """A message that holds neither text nor an image."""

    why = "a message needs at least one part"


class SystemMessageNotFirst(MessagesInvalid):
    """The published template leaves out a later system message: refused, never dropped."""

    why = "a system message may only be the first one"


class LastMessageNotUser(MessagesInvalid):
    """There is nothing to answer: the chat ends in another role than the user's."""

    why = "the last message must be the user's"


class ImageNotInUserMessage(MessagesInvalid):
    """The published template leaves out images of other roles: refused, never dropped."""

    why = "images may only stand in user messages"


class TemplateRefused(InvalidArgument):
    """The checkpoint's chat template raised on this chat, or let its text write control tokens."""

    reason = "MESSAGES_INVALID"


class TextTooLong(InvalidArgument):
    """The text alone cannot fit the context: found from its length, without the cost of tokenising it."""

    reason = "CONTEXT_TOO_LONG"

    def __init__(self, limit: int, least_tokens: int) -> None:
        super().__init__(
            f"the text alone is {least_tokens} tokens or more, the context has {limit}",
            limit=limit,
            prompt_tokens=least_tokens,
        )
