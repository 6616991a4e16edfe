"""Builds an engine's Prompt from a chat and the grids of its images.

Works in two steps, so that images can be planned in between. `draft` renders and tokenises the chat, with a
placeholder per image; `expand` gives every placeholder its rows and positions. Caller text never becomes a
control token (see `chat`). Every image of the request has its rows in the prompt, or the call fails.
Independent of pixels, of row values, and of all engine limits except the context length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ImageSpan, Prompt, Reasoning
from decoder_svc.prompt.chat import ChatEncoder
from decoder_svc.prompt.messages import PLAIN, ChatMessage, ChatOptions, image_indexes, validate
from decoder_svc.prompt.positions import Grid, mrope_positions, rows_of
from decoder_svc.prompt.tokenizer import PromptTokenizer
from fovea import architecture
from fovea.contract.errors import ImagesMismatch, RowsMismatch
from fovea.contract.row_stream import GridIndices, are_kept_indices


@dataclass(frozen=True, eq=False)
class PromptDraft:
    """A tokenised chat with a placeholder per image: their `places`, and the image index of each.

    `reasoning` tells whether the answer begins with reasoning.
    """

    token_ids: NDArray[np.int32]
    places: tuple[int, ...]
    image_indexes: tuple[int, ...]
    reasoning: Reasoning = "none"

    @property
    def text_tokens(self) -> int:
        """Tokens of text, roles and vision tags."""
        return len(self.token_ids) - len(self.places)


class PromptBuilder:
    """Builds prompts for a checkpoint. Keeps no state of a request; safe to share between threads."""

    def __init__(self, checkpoint: Path | str, max_context: int | None = None) -> None:
        """With `max_context`, text that cannot fit is refused before it is tokenised."""
        directory = Path(checkpoint)
        config = architecture.load(directory)
        self.merge = config.vision_config.spatial_merge_size  # patches per side of a visual token
        self.image_token_id = config.image_token_id
        self._chat = ChatEncoder.load(directory)
        self._max_context = max_context
        tags = config.video_token_id, config.vision_start_token_id, config.vision_end_token_id
        self.tokenizer.require_within(config.text_config.vocab_size)
        self.tokenizer.require_control((self.image_token_id, *tags, *architecture.eos_ids(directory, config)))

    @property
    def tokenizer(self) -> PromptTokenizer:
        return self._chat.tokenizer

    def draft(self, messages: Sequence[ChatMessage], options: ChatOptions = PLAIN) -> PromptDraft:
        """Render and tokenise. Raises MessagesInvalid, ToolsInvalid, NotInTemplate, TextTooLong or
        TemplateRefused.
        """
        validate(messages, options)
        encoded = self._chat.encode(messages, options, self._max_context)
        ids = np.asarray(encoded.token_ids, dtype=np.int32)
        places = np.flatnonzero(ids == self.image_token_id)
        indexes = image_indexes(messages)
        if len(places) != len(indexes):
            raise ImagesMismatch(len(indexes), len(places))
        return PromptDraft(ids, tuple(map(int, places)), indexes, encoded.reasoning)

    def expand(
        self,
        draft: PromptDraft,
        grids: Sequence[Grid],
        kept: Sequence[GridIndices | None] = (),
        keys: Sequence[bytes] = (),
    ) -> Prompt:
        """Give each placeholder the rows of its image: all rows of the grid, or those that `kept` lists.

        `grids` (t, h, w in patches), `kept` and `keys` are in the order of the request's images. An image in
        two places of the chat has two spans. Raises ImagesMismatch unless exactly the images of the draft are
        given, RowsMismatch for an impossible grid or impossible kept indices.
        """
        kept = kept or [None] * len(grids)
        keys = keys or [b""] * len(grids)
        self._check_images(draft, grids, kept, keys)
        rows = [self._rows(grids[i], kept[i]) for i in draft.image_indexes]
        # Each earlier placeholder already occupied a token.
        starts = np.asarray(draft.places) + np.cumsum([0, *(count - 1 for count in rows)])[:-1]
        spans = tuple(
            ImageSpan(int(start), grids[i], count, kept[i], keys[i])
            for start, count, i in zip(starts, rows, draft.image_indexes, strict=True)
        )
        token_ids = self._expanded(draft, rows)
        positions, following = mrope_positions(len(token_ids), spans, self.merge)
        return Prompt(token_ids, positions, following, spans)

    def build(
        self,
        messages: Sequence[ChatMessage],
        grids: Sequence[Grid],
        kept: Sequence[GridIndices | None] = (),
        keys: Sequence[bytes] = (),
    ) -> Prompt:
        """`draft`, then `expand`."""
        return self.expand(self.draft(messages), grids, kept, keys)

    def _check_images(
        self,
        draft: PromptDraft,
        grids: Sequence[Grid],
        kept: Sequence[GridIndices | None],
        keys: Sequence[bytes],
    ) -> None:
        for received in (len(grids), len(kept), len(keys)):
            if set(draft.image_indexes) != set(range(received)):
                raise ImagesMismatch(len(set(draft.image_indexes)), received)

    def _rows(self, grid_thw: Grid, kept: GridIndices | None) -> int:
        """Row count of an image. Raises RowsMismatch for an impossible grid or impossible kept indices."""
        t, h, w = grid_thw
        if min(grid_thw) < 1 or h % self.merge or w % self.merge:
            raise RowsMismatch(f"no image has a grid of {t}x{h}x{w} patches", grid_thw=grid_thw)
        full = rows_of(grid_thw, self.merge)
        if kept is None:
            return full
        if not are_kept_indices(kept, full):
            raise RowsMismatch(f"kept rows must be ascending places in 0..{full - 1}", rows=full)
        return len(kept)

    def _expanded(self, draft: PromptDraft, rows: Sequence[int]) -> NDArray[np.int32]:
        repeats = np.ones(len(draft.token_ids), dtype=np.int64)
        repeats[list(draft.places)] = rows
        return np.repeat(draft.token_ids, repeats)
