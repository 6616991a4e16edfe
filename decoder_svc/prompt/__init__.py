"""A chat becomes a prompt: the checkpoint's template and tokenizer, visual placeholders, M-RoPE positions.

Numpy, `tokenizers` and Jinja only: this package runs no model and imports neither torch nor transformers.
"""

from decoder_svc.prompt.builder import Draft, PromptBuilder, TokenCount
from decoder_svc.prompt.messages import ImagePart, Message, TextPart

__all__ = ["Draft", "ImagePart", "Message", "PromptBuilder", "TextPart", "TokenCount"]
