"""Images with only some cells computed, and the attention per cell, against transformers' own blocks on the
present patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModelForImageTextToText
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

from encoder_svc.vision.positions import PositionTables
from encoder_svc.vision.preprocess import Patches, patches
from encoder_svc.vision.saliency import saliency
from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype
from fovea.geometry import Geometry
from tests.encoder.images.files import picture

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Expected:
    """Rows of the kept cells, and their saliency."""

    rows: Floats
    saliency: Floats


def some(geometry: Geometry, size: tuple[int, int], kept: list[int] | None) -> Patches:
    """A picture of noise with the cells `kept`."""
    whole = patches(picture(*size), geometry)
    if kept is None:
        return whole
    places = np.array(kept, np.int32)
    values = whole.values.reshape(-1, 4, whole.values.shape[1])[places]
    return Patches(values.reshape(-1, whole.values.shape[1]), whole.grid_thw, places)


def expected(folder: Path, size: tuple[int, int], kept: list[int]) -> Expected:
    """The model's own blocks in order, on the kept patches of the first block's input."""
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval().model.visual
    whole = patches(picture(*size), Geometry.from_checkpoint(folder))
    x, places = _entering(model, whole)
    chosen = (torch.tensor(kept)[:, None] * 4 + torch.arange(4)).flatten()
    x, places = x[chosen], tuple(table[chosen] for table in places)
    ends = torch.tensor([0, len(x)], dtype=torch.int32)
    levels = []
    with torch.inference_mode():
        for number, block in enumerate(model.blocks):
            attention = _naive(block, x, places)
            x = block(x, cu_seqlens=ends, position_embeddings=places)
            if number in model.deepstack_visual_indexes:
                levels.append(model.deepstack_merger_list[len(levels)](x))
        return Expected(torch.cat([model.merger(x), *levels], dim=1).numpy(), attention)


def _entering(model: Any, whole: Patches) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The patches with their position embeddings added, and the cosines and sines of the rotation."""
    seen: dict[str, Any] = {}

    def look(_: Any, arguments: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
        seen["x"], seen["places"] = arguments[0], named["position_embeddings"]

    hook = model.blocks[0].register_forward_pre_hook(look, with_kwargs=True)
    with torch.inference_mode():
        model(torch.from_numpy(whole.values), grid_thw=torch.tensor([whole.grid_thw]))
    hook.remove()
    return seen["x"], seen["places"]


def _naive(block: Any, x: torch.Tensor, places: tuple[torch.Tensor, ...]) -> Floats:
    """Softmax of every query over every key, summed over queries, mean over heads, by cells."""
    qkv = block.attn.qkv(block.norm1(x)).view(len(x), 3, block.attn.num_heads, -1)
    q, k = apply_rotary_pos_emb_vision(qkv[:, 0], qkv[:, 1], *places)
    scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
    weights: Floats = scores.softmax(-1).sum(1).mean(0).view(-1, 4).sum(1).numpy()
    return weights


def floats(tower: Tower, data: bytes) -> Floats:
    return np.frombuffer(data, np.float32).reshape(-1, tower.layout(RowDtype.FP32).values)


KEPT = [0, 3, 4, 9, 17, 18, 19]
SIZE = (160, 128)  # 5 x 4 cells


def test_rows_of_chosen_cells_are_those_of_the_blocks_on_these_patches_alone(folder: Path) -> None:
    """The tolerance is that of whole images in test_tower. Cells keep the positions of the whole image."""
    tower, geometry = Tower.load(folder), Geometry.from_checkpoint(folder)
    (made,) = tower.encode([some(geometry, SIZE, KEPT)], RowDtype.FP32, saliency=True)
    reference = expected(folder, SIZE, KEPT)
    np.testing.assert_allclose(floats(tower, made.rows), reference.rows, rtol=1e-5, atol=1e-5)
    assert made.saliency is not None
    assert made.saliency.dtype == np.float32
    np.testing.assert_allclose(made.saliency, reference.saliency, rtol=1e-5)
    assert made.saliency.sum() == pytest.approx(4 * len(KEPT), rel=1e-5)


def test_all_cells_chosen_are_the_whole_image(moe: Path) -> None:
    tower, geometry = Tower.load(moe), Geometry.from_checkpoint(moe)
    chosen, whole = tower.encode(
        [some(geometry, SIZE, list(range(20))), some(geometry, SIZE, None)], RowDtype.FP32
    )
    assert chosen.rows == whole.rows


def test_images_with_and_without_all_cells_share_a_batch(moe: Path) -> None:
    """Lengths of 28, 80, 28 and 8 patches: two equal lengths, out of order."""
    tower, geometry = Tower.load(moe), Geometry.from_checkpoint(moe)
    images = [
        some(geometry, SIZE, KEPT),
        some(geometry, SIZE, None),
        some(geometry, (96, 96), [0, 1, 2, 3, 4, 5, 8]),
        some(geometry, SIZE, [1, 2]),
    ]
    together = tower.encode(images, RowDtype.FP32, saliency=True)
    for image, made in zip(images, together, strict=True):
        (alone,) = tower.encode([image], RowDtype.FP32, saliency=True)
        np.testing.assert_allclose(floats(tower, made.rows), floats(tower, alone.rows), rtol=0, atol=1e-5)
        assert made.saliency is not None
        assert alone.saliency is not None
        np.testing.assert_allclose(made.saliency, alone.saliency, rtol=1e-5)


def test_asking_for_saliency_changes_no_bit_of_the_rows(moe: Path) -> None:
    tower, geometry = Tower.load(moe), Geometry.from_checkpoint(moe)
    images = [some(geometry, SIZE, KEPT), some(geometry, SIZE, None)]
    without = tower.encode(images, RowDtype.BF16)
    salient = tower.encode(images, RowDtype.BF16, saliency=True)
    assert [made.rows for made in without] == [made.rows for made in salient]
    assert [made.saliency for made in without] == [None, None]


def test_saliency_is_the_same_however_many_queries_are_taken_at_once() -> None:
    q, k = torch.randn(2, 37, 2, 8, generator=torch.Generator().manual_seed(1))
    whole = saliency(q, k)
    for scores in (1, 37 * 2 * 5):
        torch.testing.assert_close(saliency(q, k, scores), whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kept", [[], [3, 2], [1, 1], [-1, 2], [19, 20]])
def test_kept_cells_outside_of_the_grid_are_refused(moe: Path, kept: list[int]) -> None:
    geometry = Geometry.from_checkpoint(moe)
    whole = some(geometry, SIZE, None)
    image = Patches(whole.values[: 4 * len(kept)], whole.grid_thw, np.array(kept, np.int32))
    with pytest.raises(ValueError, match="kept cells"):
        Tower.load(moe).encode([image], RowDtype.FP32)


def test_position_tables_are_cached_up_to_a_bound_the_latest_first() -> None:
    learned = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    tables = PositionTables(learned, torch.tensor([1.0, 0.1]), 2, cache_bytes=3 * 16 * (8 * 4 + 4 * 8))
    first = tables.of(4, 4)
    tables.of(8, 2), tables.of(2, 8)
    assert tables.of(4, 4) is first
    tables.of(2, 10)
    assert tables.nbytes <= 3 * 16 * 64
    assert tables.of(4, 4) is first
    torch.testing.assert_close(first.added[[0, 15]], learned[[0, 15]])  # corners keep their embedding
