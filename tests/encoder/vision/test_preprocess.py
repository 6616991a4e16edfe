"""Our preprocessing against the image processor of transformers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from encoder_svc.vision.preprocess import patches
from fovea.architecture import check_processor
from fovea.contract.errors import AspectTooExtreme, CheckpointNotSupported
from fovea.geometry import Geometry
from tests import tiny


def sizes() -> list[tuple[int, int]]:
    """200 sizes: the extremes, a size around each rounding edge, the rest random."""
    fixed = [(1, 1), (1, 200), (200, 1), (2, 399), (3, 3), (16, 16), (31, 33), (32, 32), (48, 16)]
    fixed += [(1024, 1024), (768, 768), (640, 480), (1600, 1200), (5, 1000), (255, 257), (80, 48)]
    draw = random.Random(5)
    while len(fixed) < 200:
        width, height = (round(2 ** draw.uniform(0, 10)) for _ in range(2))
        if max(width, height) <= 200 * min(width, height):
            fixed.append((width, height))
    return fixed


def noise(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    draw = np.random.default_rng([seed, width, height])
    return draw.integers(0, 256, (height, width, 3), dtype=np.uint8)


def processor(min_pixels: int, max_pixels: int) -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": min_pixels, "longest_edge": max_pixels},
        patch_size=16,
        temporal_patch_size=2,
        merge_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


# A low ceiling and a low floor, so that enlarging, shrinking and leaving alone all occur and stay quick.
@pytest.mark.parametrize(("low", "high"), [(4096, 200_000), (65_536, 16_777_216)])
def test_patches_and_grids_equal_the_processor_bit_for_bit(low: int, high: int) -> None:
    """No tolerance: both round each byte value to float32 at the same two places."""
    reference, geometry = processor(low, high), Geometry(min_pixels=low, max_pixels=high)
    compared = sizes() if high < 10**6 else sizes()[:60]
    for width, height in compared:
        rgb = noise(width, height)
        expected = reference(images=[rgb], return_tensors="np", input_data_format="channels_last")
        ours = patches(rgb, geometry)
        assert ours.grid_thw == tuple(expected["image_grid_thw"][0]), (width, height)
        assert np.array_equal(ours.values, expected["pixel_values"]), (width, height)


def test_a_smaller_max_pixels_equals_the_processor_with_that_longest_edge() -> None:
    reference = processor(4096, 50_000)
    rgb = noise(700, 300)
    expected = reference(images=[rgb], return_tensors="np", input_data_format="channels_last")
    ours = patches(rgb, Geometry(min_pixels=4096), max_pixels=50_000)
    assert ours.grid_thw == tuple(expected["image_grid_thw"][0])
    assert np.array_equal(ours.values, expected["pixel_values"])


def test_patches_are_float32_and_contiguous_and_as_many_as_planned() -> None:
    geometry = Geometry()
    made = patches(noise(300, 500), geometry)
    assert made.values.dtype == np.float32
    assert made.values.flags.c_contiguous
    assert made.values.shape == (geometry.plan(300, 500).patches, 1536)


def test_the_pixels_given_are_left_as_they_were() -> None:
    rgb = noise(64, 64)
    before = rgb.copy()
    patches(rgb, Geometry(min_pixels=1024))
    assert np.array_equal(rgb, before)


def test_an_aspect_above_200_is_refused() -> None:
    with pytest.raises(AspectTooExtreme):
        patches(noise(201, 1), Geometry())


def test_another_normalisation_is_refused_at_start(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path)
    check_processor(folder)
    config = json.loads((folder / "preprocessor_config.json").read_text())
    config["image_mean"] = [0.48, 0.46, 0.41]
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointNotSupported, match="image_mean"):
        check_processor(folder)


def test_flat_cells_are_left_out_and_the_others_are_as_they_were() -> None:
    geometry = Geometry(min_pixels=1024)
    rgb = np.full((96, 128, 3), 200, np.uint8)
    rgb[32:64, 64:96] = noise(32, 32)  # cell 6 of 3 x 4
    made, whole = patches(rgb, geometry, None, 0), patches(rgb, geometry)
    assert made.kept is not None
    assert (made.kept.tolist(), made.grid_thw) == ([0, 6], whole.grid_thw)
    assert np.array_equal(made.values, whole.values.reshape(12, 4, -1)[[0, 6]].reshape(8, -1))
    assert made.values.flags.c_contiguous


def test_an_image_without_uniform_patches_keeps_all() -> None:
    made = patches(noise(128, 96), Geometry(min_pixels=1024), None, 0)
    assert made.kept is None
    assert made.count == 48
