"""A chat becomes a prompt: the checkpoint's template and tokenizer, visual placeholders, M-RoPE positions.

Numpy, `tokenizers` and Jinja only: this package runs no model and imports neither torch nor transformers.
"""

from decoder_svc.prompt.builder import PromptBuilder, PromptDraft, PromptTokens
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart

__all__ = ["ChatMessage", "ImagePart", "PromptBuilder", "PromptDraft", "PromptTokens", "TextPart"]
