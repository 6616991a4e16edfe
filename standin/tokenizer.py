"""The stand-in's tokenizer: byte-level BPE over question forms and lexicon, Qwen's special tokens.

Every word of the lexicon is one token, every digit its own. `train_tokenizer` makes tokenizer.json; the
rest reads the committed file.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from standin.lexicon import COLOUR_NAMES, WORDS
from standin.questions import FORMS, ORDINALS

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
# Han signs one by one, letters with the space before them, single digits, signs likewise, single spaces.
PIECES = r"\p{Han}| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s"
FILE = Path(__file__).parent / "model" / "tokenizer.json"


def train_tokenizer() -> Tokenizer:
    """Train on the forms and the lexicon; the same on every machine."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return tokenizer


def _corpus() -> list[str]:
    words = [word for word in (*WORDS, *COLOUR_NAMES) for _ in range(40)]
    forms = [form.format(a="", b="") for group in FORMS.values() for form in group for _ in range(30)]
    colours = [
        f" {name}" for name in (*COLOUR_NAMES, *ORDINALS, "last", "highest", "lowest") for _ in range(30)
    ]
    answers = (
        "bar line pie table card scene page yes no rise fall higher lower day night circle square triangle"
    )
    roles = ["user", "assistant", "system"] * 60
    return words + forms + colours + answers.split() * 40 + [" chart"] * 60 + roles


@lru_cache(maxsize=1)
def load_tokenizer() -> Tokenizer:
    """The committed tokenizer."""
    return Tokenizer.from_file(str(FILE))


def special_ids() -> dict[str, int]:
    """Ids of Qwen's special tokens by their strings."""
    return {text: load_tokenizer().token_to_id(text) for text in SPECIALS}


def vocabulary_size() -> int:
    """Rows of the embedding: all tokens, rounded up to a multiple of 32."""
    return -(-load_tokenizer().get_vocab_size() // 32) * 32
