"""The training forward is transformers' forward.

Same rows, same logits, many questions behind one picture or one alone.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from standin.config import LARGE, SMALL
from standin.dataset import Recipe, training_batches
from standin.model import Model, build_model
from standin.text import Layout, text_hidden
from standin.tower import patches_of, tower_rows
from standin.whole import prefix_ids, run_batch

# fp32 sums in another order (one batch against one picture at a time, all experts against the chosen two).
CLOSE = {"rtol": 1e-4, "atol": 5e-5}


@pytest.fixture(scope="module", params=[LARGE, SMALL], ids=["large", "small"])
def model(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    return build_model(request.param).eval()


def pixel_values(pictures: torch.Tensor) -> torch.Tensor:
    """What the published processor hands over: both frames of a still are the same."""
    return patches_of(pictures).reshape(-1, 3, 1, 256).expand(-1, 3, 2, 256).reshape(-1, 1536)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 160), (224, 32)])
def test_tower_rows_equal_transformers(model: Model, height: int, width: int) -> None:
    pictures = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8)
    grid = torch.tensor([[1, height // 16, width // 16]] * 3)
    rows = tower_rows(model.model.visual, patches_of(pictures), height // 16, width // 16)
    theirs = model.model.visual(pixel_values(pictures), grid_thw=grid)
    for mine, other in zip(rows, [theirs.pooler_output, *theirs.deepstack_features], strict=True):
        torch.testing.assert_close(mine.flatten(0, 1), other, **CLOSE)


@torch.no_grad()
def test_packed_questions_equal_each_alone_in_transformers(model: Model) -> None:
    batch = next(training_batches(1, Recipe(sizes=((160, 128),), pixels=50_000, questions=4)))
    pictures, tokens = torch.from_numpy(batch.pictures), torch.from_numpy(batch.tokens)
    count, height, width, _ = pictures.shape
    layout = Layout(height // 32, width // 32, tokens.shape[1], tokens.shape[2])
    rows = tower_rows(model.model.visual, patches_of(pictures), height // 16, width // 16)
    ids = torch.cat([prefix_ids(layout.rows * layout.cols).expand(count, -1), tokens.flatten(1)], dim=1)
    embeds = model.model.language_model.embed_tokens(ids)
    embeds[:, layout.visual] = rows[0]
    hidden, _, _ = text_hidden(model.model.language_model, embeds, rows[1:], layout, None)
    packed = model.lm_head(hidden[:, layout.prefix :]).view(*tokens.shape, -1)
    for question in range(tokens.shape[1]):
        alone = torch.cat([ids[:, : layout.prefix], tokens[:, question]], dim=1)
        theirs = model(
            input_ids=alone,
            pixel_values=pixel_values(pictures),
            image_grid_thw=torch.tensor([[1, height // 16, width // 16]] * count),
            mm_token_type_ids=(alone == model.config.image_token_id).int(),
        ).logits[:, layout.prefix :]
        torch.testing.assert_close(packed[:, question], theirs, **CLOSE)


@torch.no_grad()
def test_a_dropped_row_changes_no_other_row(model: Model) -> None:
    batch = next(training_batches(2, Recipe(sizes=((160, 128),), pixels=50_000, odd_share=0.0)))
    kept = torch.ones(len(batch.pictures), 20, dtype=torch.bool)
    kept[:, 0] = False
    blacked = batch.pictures.copy()
    pictures, tokens, targets = map(torch.from_numpy, (batch.pictures, batch.tokens, batch.targets))
    whole = run_batch(model, pictures, tokens, targets)
    cut = run_batch(model, pictures, tokens, targets, kept)
    assert whole.answers != cut.answers
    # The same rows but the dropped one: loss may not depend on what it held.
    layout = Layout(4, 5, tokens.shape[1], tokens.shape[2])
    embeds = torch.randn(len(blacked), layout.prefix + tokens.shape[1] * tokens.shape[2], 128)
    other = embeds.clone()
    other[:, layout.visual.start] += 1.0
    text = model.model.language_model
    indices, _, _ = text_hidden(text, embeds, [], layout, kept)
    two, _, _ = text_hidden(text, other, [], layout, kept)
    assert torch.equal(indices[:, layout.visual.start + 1 :], two[:, layout.visual.start + 1 :])


@torch.no_grad()
def test_keeping_every_row_equals_no_dropping(model: Model) -> None:
    batch = next(training_batches(4, Recipe(sizes=((160, 128),), pixels=50_000)))
    arrays = [torch.from_numpy(image) for image in (batch.pictures, batch.tokens, batch.targets)]
    every = torch.ones(len(batch.pictures), 20, dtype=torch.bool)
    torch.testing.assert_close(run_batch(model, *arrays).answers, run_batch(model, *arrays, every).answers)
    assert np.array_equal(run_batch(model, *arrays).right, run_batch(model, *arrays, every).right)
