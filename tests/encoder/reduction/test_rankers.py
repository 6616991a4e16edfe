"""Rankings: lazy greedy equals greedy to the last bit, baselines match their definition, selections are
nested.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_svc.reduction import choice, divprune, random_rows, rankers, scope, stride
from encoder_svc.reduction.rankers import RankerInput
from encoder_svc.reduction.ranking import Floats, Ranking
from encoder_svc.reduction.similarity import cosines
from fovea.contract.plan import LEAST_ROWS, Reducer, RowSelection
from fovea.contract.row_stream import GridIndices
from fovea.contract.rows import RowDtype, RowLayout
from fovea.pooled import pooled

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, count: int, width: int = 6) -> tuple[Floats, Floats]:
    """Rows in a few directions, some duplicated and some zero, and saliency with ties and zeros."""
    random = np.random.default_rng(seed)
    rows = (
        random.normal(size=(count, width)) + 3 * random.normal(size=(3, width))[random.integers(0, 3, count)]
    )
    rows[random.random(count) < 0.1] = 0
    twice = random.random(count) < 0.2
    rows[twice] = rows[random.integers(0, count, count)][twice]
    return rows.astype(np.float32), np.round(random.random(count) * 3).astype(np.float32)


def greedy(similar: Floats, saliency: Floats) -> tuple[list[int], list[float]]:
    """Recomputes every row in every step."""
    covered, left = np.zeros(len(similar), np.float32), np.ones(len(similar), bool)
    order, gains = [], []
    for _ in range(len(similar)):
        gain = np.where(left, scope.gain(similar, saliency, covered), -1)
        best = int(gain.argmax())
        order.append(best)
        gains.append(float(gain[best]))
        left[best] = False
        covered = np.maximum(covered, similar[best])
    return order, gains


@given(SEEDS, st.integers(1, 60))
def test_lazy_greedy_is_greedy_to_the_last_bit(seed: int, count: int) -> None:
    rows, saliency = drawn(seed, count)
    similar = np.maximum(cosines(rows), 0)
    order, gains = scope.lazy_greedy(similar, saliency)
    assert (order.tolist(), gains.tolist()) == greedy(similar, saliency)


@given(SEEDS, st.integers(2, 40))
def test_uniform_patches_rank_last_however_much_attention_they_received(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    uniform = np.arange(count) % 3 == 1
    saliency = np.where(uniform, 1000, 1).astype(np.float32)
    rows = random.normal(size=(count, 64)).astype(np.float32)
    ranking = rankers.by_content(
        Reducer.SCOPE, RankerInput(np.arange(count, dtype=np.int32), rows, saliency, uniform)
    )
    assert uniform[ranking.order].tolist() == sorted(uniform.tolist())


@given(SEEDS, st.integers(1, 40))
def test_divprune_takes_the_row_farthest_from_those_it_has(seed: int, count: int) -> None:
    rows, _ = drawn(seed, count)
    order, gains = divprune.rank(rows)
    distances = np.maximum(1 - cosines(rows), 0)
    assert sorted(order) == list(range(count))
    for step in range(1, count):
        nearest = distances[:, order[:step]].min(axis=1)
        nearest[order[:step]] = -1
        assert order[step] == nearest.argmax()
    assert (np.diff(gains) <= 0).all()


@pytest.mark.parametrize("grid", [(24, 24), (7, 33)])
def test_a_stride_of_any_length_is_more_even_than_chance(grid: tuple[int, int]) -> None:
    """Rows per square of 3x3 cells, against their fair share, for every row count."""
    places = np.arange(grid[0] * grid[1], dtype=np.int32)
    down, right = np.divmod(places, grid[1])
    squares = down // 3 * 100 + right // 3
    sizes = np.array([(squares == name).sum() for name in np.unique(squares)])

    def uneven(order: GridIndices) -> float:
        ranker_input = np.stack([np.cumsum(squares[order] == name) for name in np.unique(squares)])
        fair = sizes[:, None] * np.arange(1, len(places) + 1) / len(places)
        return float(np.abs(ranker_input - fair).mean())

    assert uneven(stride.rank(places, grid[1])) < 0.6 * uneven(random_rows.rank(len(places)))


def test_random_ranking_is_the_same_everywhere() -> None:
    assert random_rows.rank(8).tolist() == [0, 2, 1, 3, 7, 5, 4, 6]
    assert sorted(random_rows.rank(1280)) == list(range(1280))
    assert random_rows.rank(9)[:8].tolist() != random_rows.rank(8).tolist()


def test_more_rows_than_are_compared_at_once_are_merged_by_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankers, "MAX_ROWS_TOGETHER", 40)
    rows, saliency = drawn(5, 100)
    for reducer in rankers.NEEDS_ROWS:
        ranking = rankers.by_content(reducer, RankerInput(np.arange(100, dtype=np.int32) * 2, rows, saliency))
        assert sorted(ranking.order) == list(range(0, 200, 2))
        assert (np.diff(ranking.gains) <= 0).all()
        alone = [place for place in ranking.order if place < 2 * 33]
        part = rankers.by_content(
            reducer, RankerInput(np.arange(33, dtype=np.int32) * 2, rows[:33], saliency[:33])
        )
        assert alone == part.order.tolist()


def test_scope_requires_saliency() -> None:
    rows, _ = drawn(1, 8)
    with pytest.raises(ValueError, match="saliency"):
        rankers.by_content(Reducer.SCOPE, RankerInput(np.arange(8, dtype=np.int32), rows))


@given(SEEDS, st.integers(1, 80), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_selection_is_a_subset_of_every_larger_selection(
    seed: int, count: int, first: float, second: float
) -> None:
    order = np.random.default_rng(seed).permutation(3 * count)[:count].astype(np.int32)
    ranking = Ranking(order, np.ones(count, np.float32))
    few, many = (choice.best(ranking, RowSelection(keep)).tolist() for keep in sorted((first, second)))
    assert set(few) <= set(many)
    assert few == sorted(few)
    assert len(few) >= min(count, LEAST_ROWS)
    assert Ranking.unpack(ranking.pack()) is not None


def test_shares_round_as_written_in_decimal() -> None:
    """0.3 and 0.07 of a hundred are 30 and 7, in either precision."""
    for keep, rows in ((0.3, 30), (0.07, 16), (0.751, 76), (1.0, 100)):
        assert {RowSelection(keep).count(100), RowSelection(float(np.float32(keep))).count(100)} == {rows}


def test_auto_stops_where_little_is_added() -> None:
    gains = np.array([50, 30, 10] * 10 + [1e-3] * 70, np.float32)
    ranking = Ranking(np.arange(100, dtype=np.int32), gains)
    kept = len(choice.best(ranking, RowSelection(auto=True)))
    assert gains[:kept].sum() >= choice.AUTO_GAIN * gains.sum() > gains[: kept - 1].sum()
    nothing = Ranking(np.arange(100, dtype=np.int32), np.zeros(100, np.float32))
    assert len(choice.best(nothing, RowSelection(auto=True))) == LEAST_ROWS


def test_invalid_rankings_are_not_unpacked() -> None:
    good = Ranking(np.array([4, 0, 2], np.int32), np.array([3, 2, 1], np.float32))
    data = good.pack()
    assert Ranking.unpack(data[:-1]) is None
    assert Ranking.unpack(b"") is None
    assert Ranking.unpack(data[:8] * 3) is None, "an index that appears three times"
    assert good.of(np.array([0, 2, 4], np.int32))
    assert not good.of(np.array([0, 2, 5], np.int32))


@pytest.mark.parametrize(
    "dtype", [RowDtype.BF16, RowDtype.FP16, RowDtype.FP32], ids=lambda dtype: dtype.value
)
def test_the_pooled_level_is_read_from_any_layout(dtype: RowDtype) -> None:
    import torch

    values = np.random.default_rng(2).normal(size=(5, 3 * 4)).astype(np.float32)
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    packed = torch.from_numpy(values).to(kinds[dtype.value])
    data = packed.contiguous().view(torch.uint8).numpy().tobytes()
    assert np.array_equal(pooled(memoryview(data), RowLayout(4, 2, dtype)), packed[:, :4].float().numpy())


@pytest.mark.parametrize("name", ["fp8", "int8"])
def test_the_pooled_level_is_read_with_its_scales(name: str) -> None:
    """In the layout of `rows.proto`: the values of all levels, then the scales of all levels."""
    import torch

    random, width, levels = np.random.default_rng(4), 128, 2
    values = torch.from_numpy(random.integers(-100, 100, (5, width * (1 + levels))).astype(np.float32))
    group = width if name == "fp8" else 64
    scales = torch.from_numpy(random.random((5, values.shape[1] // group)).astype(np.float32))
    small = values.to(torch.float8_e4m3fn if name == "fp8" else torch.int8)
    data = torch.cat([small.view(torch.uint8), scales.view(torch.uint8)], dim=1)
    layout = RowLayout(width, levels, RowDtype(name))
    expected = small[:, :width].float() * scales.repeat_interleave(group, dim=1)[:, :width]
    assert np.array_equal(pooled(memoryview(data.numpy().tobytes()), layout), expected.numpy())


def test_e4m3_bytes_decode_as_in_torch() -> None:
    import torch

    from fovea.pooled import E4M3

    expected = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
    assert np.array_equal(E4M3, expected, equal_nan=True)
