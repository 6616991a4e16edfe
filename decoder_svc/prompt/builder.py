"""From a chat and the grids of its images to the Prompt that an engine takes.

Two steps, so that images can be planned in between: `draft` renders and tokenises the chat, with one
placeholder an image; `expand` gives every placeholder its rows and positions. No text of the caller becomes a
control token (see `chat`), and an image that was asked for has its rows in the prompt or the call fails. This
module knows no pixels, no rows' values and no limit of the engine but the context's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ImageSpan, Prompt
from decoder_svc.prompt.chat import ChatEncoder
from decoder_svc.prompt.errors import TextTooLong
from decoder_svc.prompt.messages import ChatMessage, image_indexes, texts, validate
from decoder_svc.prompt.positions import Grid, PlacedImage, mrope_positions, rows_of
from decoder_svc.prompt.special import PromptConfig
from decoder_svc.prompt.tokenizer import PromptTokenizer
from fovea.contract.errors import ImagesMismatch, RowsMismatch

Kept = Sequence[NDArray[np.int32] | None]


@dataclass(frozen=True, eq=False)
class PromptDraft:
    """A tokenised chat with one placeholder an image: their `places`, and which image each one shows."""

    token_ids: NDArray[np.int32]
    places: tuple[int, ...]
    image_indexes: tuple[int, ...]

    @property
    def text_tokens(self) -> int:
        """Everything but visual tokens: text, roles, vision tags."""
        return len(self.token_ids) - len(self.places)


@dataclass(frozen=True)
class PromptTokens:
    """What a prompt costs, by kind."""

    text: int
    visual: int

    @property
    def total(self) -> int:
        return self.text + self.visual


class PromptBuilder:
    """Builds prompts for one checkpoint. Holds no state of a request; safe to share between threads."""

    def __init__(self, checkpoint: Path | str, max_context: int | None = None) -> None:
        """With `max_context`, a text that cannot fit is refused before it costs the time to tokenise it."""
        directory = Path(checkpoint)
        config = PromptConfig.load(directory)
        self.ids = config.ids
        self.merge = config.merge
        self._chat = ChatEncoder.load(directory)
        self.tokenizer.require_within(config.vocab_size)
        self.tokenizer.require_control(self.ids.all)
        self._max_context = max_context

    @property
    def tokenizer(self) -> PromptTokenizer:
        return self._chat.tokenizer

    def draft(self, messages: Sequence[ChatMessage]) -> PromptDraft:
        """Render and tokenise; raises a MessagesInvalid, TextTooLong or TemplateRefused."""
        validate(messages)
        self._refuse_endless(messages)
        ids = np.asarray(self._chat.encode(messages), dtype=np.int32)
        places = np.flatnonzero(ids == self.ids.image)
        indexes = image_indexes(messages)
        if len(places) != len(indexes):
            raise ImagesMismatch(len(indexes), len(places))
        return PromptDraft(ids, tuple(map(int, places)), indexes)

    def expand(
        self,
        draft: PromptDraft,
        grids: Sequence[Grid],
        kept: Kept | None = None,
        keys: Sequence[bytes] = (),
    ) -> Prompt:
        """Give each placeholder the rows of its image: all of the grid's, or those that `kept` lists.

        `grids` (t, h, w in patches), `kept` and `keys` stand in the order of the request's images; an image
        in two places of the chat has two spans. Raises ImagesMismatch unless every image given is used and
        every one used is given, RowsMismatch for a grid or kept places that no image can have.
        """
        kept = _places(kept, len(grids))
        keys = keys or [b""] * len(grids)
        self._check_images(draft, grids, kept, keys)
        images = [
            PlacedImage(place, grids[i], kept[i])
            for place, i in zip(draft.places, draft.image_indexes, strict=True)
        ]
        rows = [self._rows(image.grid_thw, image.kept) for image in images]
        positions, following = mrope_positions(len(draft.token_ids), images, self.merge)
        starts = np.asarray(draft.places, dtype=np.int64) + np.cumsum([0, *rows])[:-1]
        starts -= np.arange(len(rows))  # each earlier placeholder was one token already
        spans = tuple(
            ImageSpan(int(start), image.grid_thw, count, image.kept, keys[i])
            for start, image, count, i in zip(starts, images, rows, draft.image_indexes, strict=True)
        )
        return Prompt(self._expanded(draft, rows), positions, following, spans)

    def build(
        self,
        messages: Sequence[ChatMessage],
        grids: Sequence[Grid],
        kept: Kept | None = None,
        keys: Sequence[bytes] = (),
    ) -> Prompt:
        """`draft` and `expand` in one."""
        return self.expand(self.draft(messages), grids, kept, keys)

    def count(
        self, messages: Sequence[ChatMessage], grids: Sequence[Grid], kept: Kept | None = None
    ) -> PromptTokens:
        """What `build` of the same arguments would hold, without building it."""
        draft = self.draft(messages)
        kept = _places(kept, len(grids))
        self._check_images(draft, grids, kept, [b""] * len(grids))
        return PromptTokens(
            draft.text_tokens, sum(self._rows(grids[i], kept[i]) for i in draft.image_indexes)
        )

    def _refuse_endless(self, messages: Sequence[ChatMessage]) -> None:
        if self._max_context is None:
            return
        least = self.tokenizer.least_tokens("".join(texts(messages)))
        if least > self._max_context:
            raise TextTooLong(self._max_context, least)

    def _check_images(
        self, draft: PromptDraft, grids: Sequence[Grid], kept: Kept, keys: Sequence[bytes]
    ) -> None:
        for received in (len(grids), len(kept), len(keys)):
            if set(draft.image_indexes) != set(range(received)):
                raise ImagesMismatch(len(set(draft.image_indexes)), received)

    def _rows(self, grid_thw: Grid, kept: NDArray[np.int32] | None) -> int:
        """Rows that an image brings, after checking that such an image can be."""
        t, h, w = grid_thw
        if min(grid_thw) < 1 or h % self.merge or w % self.merge:
            raise RowsMismatch(f"no image has a grid of {t}x{h}x{w} patches", grid_thw=grid_thw)
        full = rows_of(grid_thw, self.merge)
        if kept is None:
            return full
        if not _ascending(kept) or kept[0] < 0 or kept[-1] >= full:
            raise RowsMismatch(f"kept rows must be ascending places in 0..{full - 1}", rows=full)
        return len(kept)

    def _expanded(self, draft: PromptDraft, rows: Sequence[int]) -> NDArray[np.int32]:
        repeats = np.ones(len(draft.token_ids), dtype=np.int64)
        repeats[list(draft.places)] = rows
        return np.repeat(draft.token_ids, repeats)


def _places(kept: Kept | None, images: int) -> Kept:
    if kept is None:
        return [None] * images
    return [None if rows is None else np.asarray(rows, dtype=np.int32) for rows in kept]


def _ascending(kept: NDArray[np.int32]) -> bool:
    return kept.ndim == 1 and len(kept) > 0 and bool(np.all(np.diff(kept) > 0))
