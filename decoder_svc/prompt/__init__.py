"""Builds prompts from chats: the checkpoint's template and tokenizer, image placeholders, M-RoPE positions.

Uses only numpy, `tokenizers` and Jinja: this package runs no model and imports neither torch nor
transformers.
"""

from decoder_svc.prompt.builder import PromptBuilder, PromptDraft
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart

__all__ = ["ChatMessage", "ImagePart", "PromptBuilder", "PromptDraft", "TextPart"]
