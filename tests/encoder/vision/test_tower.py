"""The tower against the whole transformers model, and against itself in other batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import (
    AutoConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
)

from encoder_svc.vision.forward import ForwardOutput
from encoder_svc.vision.preprocess import Patches, patches
from encoder_svc.vision.tower import Tower
from fovea.contract.errors import RowsNotFinite
from fovea.contract.rows import RowDtype, RowLayout
from fovea.geometry import Geometry

SIZES = [(64, 64), (96, 160), (320, 64), (32, 32), (224, 192)]


def pictures(geometry: Geometry) -> list[Patches]:
    """Five images of different sizes, smooth enough to be pictures rather than noise."""
    made = []
    for seed, (width, height) in enumerate(SIZES):
        coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        made.append(patches(coarse.repeat(8, 0).repeat(8, 1), geometry))
    return made


def values(data: bytes, layout: RowLayout) -> npt.NDArray[np.float32]:
    if layout.dtype is RowDtype.BF16:
        tensor = torch.frombuffer(bytearray(data), dtype=torch.bfloat16).float()
        return tensor.numpy().reshape(-1, layout.values)
    kind = np.float16 if layout.dtype is RowDtype.FP16 else np.float32
    return np.frombuffer(data, kind).astype(np.float32).reshape(-1, layout.values)


def reference_rows(folder: Path, images: list[Patches]) -> list[npt.NDArray[np.float32]]:
    """What the monolithic model itself feeds its language model, image by image."""
    moe = AutoConfig.from_pretrained(folder).model_type == "qwen3_vl_moe"
    family = Qwen3VLMoeForConditionalGeneration if moe else Qwen3VLForConditionalGeneration
    model = family.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        output = model.model.get_image_features(
            torch.from_numpy(np.concatenate([image.values for image in images])),
            torch.tensor([image.grid_thw for image in images]),
            return_dict=True,
        )
    rows = torch.cat([joined(level) for level in (output.pooler_output, *output.deepstack_features)], dim=1)
    return [part.numpy() for part in torch.split(rows, [image.count // 4 for image in images])]


def joined(level: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    """Older versions of transformers split only the pooled features by image."""
    return level if isinstance(level, torch.Tensor) else torch.cat(tuple(level))


def test_rows_equal_those_of_the_whole_model(folder: Path) -> None:
    """1e-5 of values near 1: float32 holds 6e-8, a dozen sums of 64 to 1536 terms lie between."""
    tower = Tower.load(folder)
    images = pictures(Geometry.from_checkpoint(folder))
    ours = tower.encode(images, RowDtype.FP32)
    for image, data, expected in zip(images, ours, reference_rows(folder, images), strict=True):
        got = values(data.rows, tower.layout(RowDtype.FP32))
        assert got.shape == expected.shape == (image.count // 4, 256)
        assert np.abs(expected).max() > 0.5
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_width_and_levels_are_measured(folder: Path) -> None:
    tower = Tower.load(folder)
    assert tower.layout(RowDtype.BF16) == RowLayout(width=64, levels=3, dtype=RowDtype.BF16)


def test_a_row_is_the_same_alone_and_in_any_batch(moe: Path) -> None:
    check_batches(Tower.load(moe), Geometry.from_checkpoint(moe), tolerance=1e-5)


@pytest.mark.long
def test_a_row_of_real_width_is_the_same_alone_and_in_any_batch(wide: Path) -> None:
    """At width 1152 other batch sizes take other matrix kernels: rows differ in the last bits.

    2e-5 of values up to 3. Measured were 2e-6 and 4e-6 on two machines; a row that saw a
    neighbour's patches differs by 1.
    """
    check_batches(Tower.load(wide), Geometry.from_checkpoint(wide), tolerance=2e-5)


def check_batches(tower: Tower, geometry: Geometry, tolerance: float) -> None:
    layout = tower.layout(RowDtype.FP32)
    images = pictures(geometry)
    alone = [values(tower.encode([image], RowDtype.FP32)[0].rows, layout) for image in images]
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [1, 1, 3]):
        together = tower.encode([images[i] for i in order], RowDtype.FP32)
        for i, data in zip(order, together, strict=True):
            np.testing.assert_allclose(values(data.rows, layout), alone[i], rtol=0, atol=tolerance)


def test_equal_images_in_a_batch_give_equal_bytes(moe: Path) -> None:
    tower = Tower.load(moe)
    image = pictures(Geometry.from_checkpoint(moe))[1]
    first, second = tower.encode([image, image], RowDtype.BF16)
    assert first.rows == second.rows


@pytest.mark.parametrize(("dtype", "relative"), [(RowDtype.BF16, 2**-8), (RowDtype.FP16, 2**-11)])
def test_other_row_dtypes_are_the_fp32_rows_rounded(moe: Path, dtype: RowDtype, relative: float) -> None:
    """Rounding to nearest is off by at most half a unit in the last place."""
    tower = Tower.load(moe)
    image = pictures(Geometry.from_checkpoint(moe))[1]
    exact = values(tower.encode([image], RowDtype.FP32)[0].rows, tower.layout(RowDtype.FP32))
    data = tower.encode([image], dtype)[0].rows
    assert len(data) == len(exact) * tower.layout(dtype).row_bytes
    np.testing.assert_allclose(values(data, tower.layout(dtype)), exact, rtol=relative, atol=1e-7)


def test_a_bf16_tower_stays_near_the_fp32_tower(moe: Path) -> None:
    image = pictures(Geometry.from_checkpoint(moe))[4]
    exact, coarse = (
        values(tower.encode([image], RowDtype.FP32)[0].rows, tower.layout(RowDtype.FP32))
        for tower in (Tower.load(moe), Tower.load(moe, dtype=RowDtype.BF16))
    )
    cosine = (exact * coarse).sum() / np.sqrt((exact**2).sum() * (coarse**2).sum())
    assert cosine > 0.999


def test_rows_are_independent_bytes(moe: Path) -> None:
    """A view of the batch would keep all of it in memory for as long as any of its images is in use."""
    images = pictures(Geometry.from_checkpoint(moe))
    rows = Tower.load(moe).encode(images, RowDtype.BF16)
    assert all(type(data.rows) is bytes for data in rows)


def test_values_that_are_not_finite_are_refused(moe: Path) -> None:
    image = pictures(Geometry.from_checkpoint(moe))[0]
    broken = Patches(np.full_like(image.values, np.inf), image.grid_thw)
    tower = Tower.load(moe)
    for dtype in (RowDtype.FP32, RowDtype.BF16, RowDtype.FP16, RowDtype.FP8, RowDtype.INT8):
        with pytest.raises(RowsNotFinite):
            tower.encode([broken], dtype)


def test_values_beyond_the_range_of_the_row_dtype_are_refused(
    moe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e5 is finite as the tower computes it, and infinity in fp16."""
    tower = Tower.load(moe)
    image = pictures(Geometry.from_checkpoint(moe))[0]
    run = tower._run

    def large(*args: Any) -> ForwardOutput:
        output = run(*args)
        output.rows[3, 7] = 1e5
        return output

    monkeypatch.setattr(tower, "_run", large)
    for dtype in (RowDtype.FP32, RowDtype.BF16, RowDtype.FP8, RowDtype.INT8):
        tower.encode([image], dtype)
    with pytest.raises(RowsNotFinite) as refused:
        tower.encode([image], RowDtype.FP16)
    assert refused.value.metadata == {"row": "3", "dtype": "fp16"}


def test_patches_that_do_not_fit_their_grid_are_refused(moe: Path) -> None:
    image = pictures(Geometry.from_checkpoint(moe))[0]
    with pytest.raises(ValueError, match="not the patches"):
        Tower.load(moe).encode([Patches(image.values[4:], image.grid_thw)], RowDtype.FP32)


def test_a_call_shows_its_progress_block_by_block(moe: Path) -> None:
    """A large image may take minutes on a CPU, and its tower must not pass for one that hangs."""
    tower = Tower.load(moe)
    seen: list[int] = []
    attend = tower._forward._attend

    def noting(*args: Any) -> Any:
        seen.append(tower.blocks_computed)
        return attend(*args)

    tower._forward._attend = noting  # type: ignore[method-assign]
    tower.encode(pictures(Geometry.from_checkpoint(moe))[:1], RowDtype.FP32)
    assert len(seen) > 1
    assert seen == list(range(seen[0], seen[0] + len(seen)))
