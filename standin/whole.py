"""The whole model's loss on a packed batch: answers, dense labels and the routers' balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from standin.dataset import IGNORED, encode
from standin.labels import BONDS, NUMBER, SLOTS
from standin.lexicon import BOND_ID, WORDS
from standin.text import Layout, Looks, text_hidden
from standin.tower import patches_of, tower_rows, tower_seen

ALIGNING = 1.0  # weight of aligning rows with word embeddings, beside naming
SHARPNESS = 15.0  # what a cosine of one is worth as a logit


Choose = Callable[[Tensor, Tensor], Tensor]
"""The rows to keep, (B, visual tokens), of the pooled rows and the attention that they got."""


@dataclass(frozen=True)
class Outcome:
    """What a batch gave.

    The loss of the answers, the routers' balance, visual rows by level, right answers (B, questions).
    """

    answers: Tensor
    balance: Tensor
    named: Tensor
    bound: Tensor
    looked: Tensor
    rows: list[Tensor]
    right: Tensor


def prefix_ids(tokens: int) -> Tensor:
    """Token ids of a user turn up to the end of its picture of `tokens` visual tokens."""
    return torch.tensor(
        encode("<|im_start|>user\n<|vision_start|>")
        + encode("<|image_pad|>") * tokens
        + encode("<|vision_end|>")
    )


def run_batch(
    model: nn.Module,
    pictures: Tensor,
    tokens: Tensor,
    targets: Tensor,
    kept: Tensor | None = None,
    labels: Tensor | None = None,
    looks: Tensor | None = None,
    there: Tensor | None = None,
    choose: Choose | None = None,
    weights: Tensor | None = None,
) -> Outcome:
    """pictures (B, H, W, 3) uint8, tokens and targets (B, questions, length).

    `kept` (B, visual tokens) are the rows that the text model sees, `there` those whose squares the tower sees,
    and with it the text model; None for all. `choose` leaves out more by what the tower made. `weights`
    (B, questions) are of the answers.
    """
    count, height, width, _ = pictures.shape
    layout = Layout(height // 32, width // 32, tokens.shape[1], tokens.shape[2])
    seen_by = (model.model.visual, patches_of(pictures), height // 16, width // 16, there)
    kept = _both(kept, there)
    if choose is None:
        rows = tower_rows(*seen_by)
    else:
        rows, got = tower_seen(*seen_by)
        kept = _both(kept, choose(rows[0].detach(), got))
    text = model.model.language_model
    visual = layout.rows * layout.cols
    ids = torch.cat([prefix_ids(visual).expand(count, -1), tokens.flatten(1)], dim=1)
    embeds = text.embed_tokens(ids)
    embeds = torch.cat([embeds[:, : layout.visual.start], rows[0], embeds[:, layout.prefix - 1 :]], dim=1)
    hidden, balance, seen = text_hidden(text, embeds, rows[1:], layout, kept)
    flat = targets.reshape(-1)
    there = flat != IGNORED
    logits = model.lm_head(hidden[:, layout.prefix :].reshape(len(flat), -1)[there])
    loss = _answers_loss(logits, flat[there], weights, targets)
    named = bound = hidden.new_zeros(())
    if labels is not None:
        # Uniform squares show no item, so nothing is asked about missing rows.
        named = _naming_loss(model, hidden[:, layout.visual], labels)
        named = named + ALIGNING * _aligning_loss(model, rows[0], labels)
        bound = _binding_loss(model, rows, labels)
    looked = hidden.new_zeros(()) if looks is None else _looking_loss(seen, targets, looks)
    wrong = torch.zeros(flat.shape, dtype=torch.bool)
    wrong[there] = logits.detach().argmax(-1) != flat[there]
    return Outcome(loss, balance, named, bound, looked, rows, ~wrong.view(targets.shape).any(-1))


def _answers_loss(logits: Tensor, answers: Tensor, weights: Tensor | None, targets: Tensor) -> Tensor:
    """The mean over the tokens of all answers, by the weights of their questions."""
    if weights is None:
        return F.cross_entropy(logits, answers)
    each = weights[..., None].expand_as(targets)[targets != IGNORED]
    return (F.cross_entropy(logits, answers, reduction="none") * each).sum() / each.sum()


def _both(kept: Tensor | None, there: Tensor | None) -> Tensor | None:
    if kept is None or there is None:
        return there if kept is None else kept
    return kept & there


def _naming_loss(model: nn.Module, hidden: Tensor, labels: Tensor) -> Tensor:
    """How well the text model names, at each visual token, the word or first digit that is printed there.

    Not needed to answer, but it teaches the output layer what printed words look like before retrieval works.
    """
    item, digit = _first_items(labels, hidden)
    words, digits = _token_tables()
    target = torch.where(item == NUMBER, digits[digit], words[item]).flatten()
    there = target != IGNORED
    return F.cross_entropy(model.lm_head(hidden.flatten(0, 1)[there]), target[there])


def _aligning_loss(model: nn.Module, pooled: Tensor, labels: Tensor) -> Tensor:
    """How well a pooled row that shows a word points where the word's own embedding points.

    A question that quotes a word then finds the row by likeness, without having to learn every word's pair.
    """
    item, _ = _first_items(labels, pooled)
    return _likeness(model, pooled, _token_tables()[0][item])


def _binding_loss(model: nn.Module, rows: list[Tensor], labels: Tensor) -> Tensor:
    """How well the pooled row of a number points where the embeddings of the words that name it point.

    Both words of a table's cell (its row and its column) are meant to stand out alike: their mean, so the
    question that quotes them finds the row that is like both.
    """
    bonds = labels[..., -BONDS:].long().view(*rows[0].shape[:2], 4, BONDS).amax(dim=2)
    tokens = _bond_tokens()
    return sum(_likeness(model, rows[0], tokens[bonds[..., place]]) for place in range(BONDS)) / BONDS


def _looking_loss(seen: list[Looks], targets: Tensor, looks: Tensor) -> Tensor:
    """How little a question that quotes names looks where they lead, in three steps that a layer can take each.

    The last name looks at the first, then, knowing both, at the visual token that they lead to; the tokens that
    answer look at the last name. A row that was dropped teaches nothing.
    """
    there = looks[..., 0] != IGNORED
    if not there.any():
        return targets.new_zeros((), dtype=torch.float32)
    row, first, last = looks[there].unbind(-1)
    each = torch.arange(len(row))
    both = first != last
    answering = targets[there] != IGNORED
    steps = [
        seen[0].own[there][each, last, first][both],
        seen[1].rows[there][each, last, row],
        seen[2]
        .own[there]
        .gather(2, last[:, None, None].expand(-1, answering.shape[1], 1))[..., 0][answering],
    ]
    return sum(-step.clamp_min(1e-4).log().mean() for step in steps if len(step))


def _likeness(model: nn.Module, rows: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the cosines between rows (B, tokens, H) and all embeddings; zero without targets."""
    there = target.flatten() != IGNORED
    if not there.any():
        return rows.new_zeros(())
    pointed = F.normalize(rows.flatten(0, 1)[there], dim=-1)
    words = F.normalize(model.model.language_model.embed_tokens.weight, dim=-1)
    return F.cross_entropy(SHARPNESS * pointed @ words.T, target.flatten()[there])


def _first_items(labels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Item label and first digit's label of the first printed item of each visual token, (B, tokens) each."""
    items = labels[..., SLOTS : SLOTS + 2].long().view(*rows.shape[:2], 4, 2)
    first = (items[..., 0] > 0).int().argmax(-1, keepdim=True)
    item, digit = items.gather(2, first[..., None].expand(-1, -1, -1, 2)).squeeze(2).unbind(-1)
    return item, digit


@lru_cache(maxsize=1)
def _bond_tokens() -> Tensor:
    """Token ids by bond label, IGNORED for none."""
    return torch.tensor([IGNORED, *(encode(word)[0] for word in BOND_ID)])


@lru_cache(maxsize=1)
def _token_tables() -> tuple[Tensor, Tensor]:
    """Token ids by word label and by digit label, IGNORED where a label names no token."""
    words = [IGNORED, *(encode(word)[0] for word in WORDS), IGNORED]
    return torch.tensor(words), torch.tensor([IGNORED, *(encode(digit)[0] for digit in "0123456789")])
