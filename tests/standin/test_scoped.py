"""Training drops the rows that the encoder would drop."""

from __future__ import annotations

import numpy as np
import torch

from encoder_svc.reduction import scope
from encoder_svc.vision.flat import uniform_cells
from standin.scoped import SHARES, best_rows, places_in_order, uniform_squares


def drawn(pictures: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(pictures, rows, 16).abs(), torch.rand(pictures, rows)


def test_the_training_order_equals_the_encoders_ranking() -> None:
    rows, weights = drawn(3, 40)
    places = places_in_order(rows, weights)
    for row, weight, place in zip(rows, weights, places, strict=True):
        order, _ = scope.rank(row.numpy(), weight.numpy())
        assert place.argsort().tolist() == order.tolist()


def test_uniform_patches_equal_those_of_the_encoder() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 96, 64, 3), dtype=np.uint8)
    pictures[0, 32:64, :32] = 7
    pictures[1, :32] = (1, 2, 3)
    uniform = uniform_squares(torch.from_numpy(pictures))
    assert uniform.tolist() == [uniform_cells(picture, 32).ravel().tolist() for picture in pictures]
    assert uniform.sum(1).tolist() == [1, 2]


def test_uniform_patches_are_dropped_first() -> None:
    rows, attention = drawn(50, 20)
    uniform = torch.arange(20) < 2
    kept = best_rows(rows, attention, uniform.expand(50, -1), share=1.0)
    assert not kept[:, uniform].any()
    assert kept[:, ~uniform].any(dim=1).all()


def test_a_share_of_the_pictures_keeps_a_part_of_its_rows() -> None:
    rows, attention = drawn(400, 20)
    counts = best_rows(rows, attention, torch.zeros(400, 20, dtype=torch.bool), share=0.5).sum(1)
    reduced = counts < 20
    assert 150 < int(reduced.sum()) < 250  # half of 400; 5 standard deviations are 50
    assert counts.min() >= 20 * SHARES[0]
    assert best_rows(rows, attention, torch.zeros(400, 20, dtype=torch.bool), share=0.0).all()


def test_dropped_patches_do_not_affect_the_order() -> None:
    """Dropped patches have no attention. Order and share refer to the remaining patches."""
    rows, attention = drawn(1, 30)
    there = torch.rand(1, 30) < 0.6
    order, _ = scope.rank(rows[0, there[0]].numpy(), attention[0, there[0]].numpy())
    places = places_in_order(rows, attention * there)[0]
    assert places[there[0]].argsort().tolist() == order.tolist()
    assert places[~there[0]].min() >= there.sum()
    kept = best_rows(rows, attention * there, torch.zeros(1, 30, dtype=torch.bool), share=1.0) & there
    assert SHARES[0] * there.sum() <= kept.sum() < there.sum()
