"""Token arithmetic: equal to the processor of transformers, and exact where it searches."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from fovea.contract.errors import AspectTooExtreme, CheckpointNotSupported, FoveaError, SizeInvalid
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry

PUBLISHED = Geometry()
SIDES = st.integers(1, 20_000)
LIMITS = st.integers(1, PUBLISHED.max_pixels)


def reference(width: int, height: int, geometry: Geometry, max_pixels: int) -> tuple[int, int]:
    new_height, new_width = smart_resize(
        height, width, geometry.cell, min_pixels=geometry.min_pixels, max_pixels=max_pixels
    )
    return new_width, new_height


@pytest.mark.parametrize(
    ("width", "height", "max_pixels", "tokens", "patches"),
    [
        (1024, 1024, None, 1024, 4096),
        (768, 768, None, 576, 2304),
        (1600, 1200, 16_777_216, 1900, 7600),
        (1920, 1080, None, 2040, 8160),
        (224, 224, None, 64, 256),
        (2480, 3508, None, 8580, 34320),
    ],
)
def test_the_published_examples(
    width: int, height: int, max_pixels: int | None, tokens: int, patches: int
) -> None:
    planned = PUBLISHED.plan(width, height, max_pixels)
    assert (planned.tokens, planned.patches) == (tokens, patches)


def test_equal_to_transformers_for_thousands_of_sizes() -> None:
    draw = random.Random(1)
    compared = 0
    for _ in range(20_000):
        width, height = (round(2 ** draw.uniform(0, 14)) for _ in range(2))
        if max(width, height) > 200 * min(width, height):
            continue
        limit = draw.choice([PUBLISHED.max_pixels, DEFAULT_MAX_PIXELS, draw.randint(1, 2**24)])
        planned = PUBLISHED.plan(width, height, limit)
        assert (planned.width, planned.height) == reference(width, height, PUBLISHED, limit)
        compared += 1
    assert compared > 10_000


def test_equal_to_transformers_where_python_rounds_half_to_even() -> None:
    for width in range(16, 2000, 16):
        for height in (16, 48, 80, 1008):
            if width <= 200 * height and height <= 200 * width:
                planned = PUBLISHED.plan(width, height)
                expected = reference(width, height, PUBLISHED, PUBLISHED.max_pixels)
                assert (planned.width, planned.height) == expected


@given(SIDES, SIDES, LIMITS)
def test_a_plan_is_whole_cells_and_its_counts_agree(width: int, height: int, limit: int) -> None:
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(AspectTooExtreme):
            PUBLISHED.plan(width, height, limit)
        return
    planned = PUBLISHED.plan(width, height, limit)
    assert planned.width % 32 == planned.height % 32 == 0
    assert planned.grid_thw == (1, planned.height // 16, planned.width // 16)
    assert planned.tokens * 1024 == planned.width * planned.height == planned.patches * 256


@given(st.integers(32, 20_000), st.integers(32, 20_000), st.integers(131_072, 2**24))
def test_a_plan_stays_within_max_pixels(width: int, height: int, limit: int) -> None:
    """As the processor does, it may exceed a limit near min_pixels and with extreme aspects."""
    if max(width, height) > 16 * min(width, height):
        return
    planned = PUBLISHED.plan(width, height, limit)
    assert planned.width * planned.height <= limit


@given(SIDES, SIDES, st.integers(1, 20_000))
def test_largest_fitting_fits_and_nothing_larger_does(width: int, height: int, tokens: int) -> None:
    if max(width, height) > 200 * min(width, height):
        return
    best = PUBLISHED.largest_fitting(width, height, tokens)
    if best is None:
        larger = [1, 1024, 65_536, DEFAULT_MAX_PIXELS, PUBLISHED.max_pixels]
    else:
        assert PUBLISHED.plan(width, height, best).tokens <= tokens
        larger = [best + step for step in (1, 2, 1023, 10**5)]
        larger = [limit for limit in larger if limit <= PUBLISHED.max_pixels]
    assert all(PUBLISHED.plan(width, height, limit).tokens > tokens for limit in larger)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 90))
def test_largest_fitting_equals_trying_every_limit(width: int, height: int, tokens: int) -> None:
    small = Geometry(min_pixels=1024, max_pixels=40_000)
    if max(width, height) > 200 * min(width, height):
        return
    steps = range(1, small.max_pixels + 1, 499)
    fitting = [limit for limit in steps if small.plan(width, height, limit).tokens <= tokens]
    best = small.largest_fitting(width, height, tokens)
    assert (best is None and not fitting) or (best is not None and best >= max(fitting, default=1))


@given(SIDES, SIDES, st.integers(1, 20_000), st.integers(1, 20_000))
def test_bounds_of_sides_hold_to_within_a_cell(width: int, height: int, short: int, long: int) -> None:
    """Both sides are rounded, so that the longer of a thin image may be a cell above its bound, and no more."""
    if max(width, height) > 200 * min(width, height):
        return
    limit = PUBLISHED.limit(width, height, None, short, long)
    assert PUBLISHED.min_pixels <= limit <= PUBLISHED.max_pixels
    planned = PUBLISHED.plan(width, height, limit)
    if limit > PUBLISHED.min_pixels and min(planned.width, planned.height) > 32:
        assert min(planned.width, planned.height) < short + 32 or short >= min(width, height)
        assert max(planned.width, planned.height) < long + 32 or long >= max(width, height)


def test_a_short_side_of_768_gives_the_usual_size() -> None:
    planned = PUBLISHED.plan(1600, 1200, PUBLISHED.limit(1600, 1200, max_short_side=768))
    assert (planned.width, planned.height) == (1024, 768)
    for width in range(1210, 1700):
        planned = PUBLISHED.plan(width, 1200, PUBLISHED.limit(width, 1200, max_short_side=768))
        assert planned.height == 768, "not a cell less by rounding"
    assert PUBLISHED.limit(1600, 1200, 500_000, 768, 1024) == 500_000
    assert PUBLISHED.limit(1600, 1200, max_short_side=1200, max_long_side=1600) == PUBLISHED.max_pixels
    assert PUBLISHED.limit(1600, 1200, 1) == PUBLISHED.min_pixels


def test_max_pixels_never_raises_the_limit_of_the_checkpoint() -> None:
    small = Geometry(max_pixels=65_536)
    assert small.plan(4000, 3000, 10**9) == small.plan(4000, 3000)


def test_a_plan_rounds_a_shrunk_size_down_to_whole_cells() -> None:
    planned = PUBLISHED.plan(4000, 3000, DEFAULT_MAX_PIXELS)
    assert (planned.width, planned.height) == (1312, 960)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5)])
def test_a_size_below_one_is_refused(width: int, height: int) -> None:
    with pytest.raises(SizeInvalid):
        PUBLISHED.plan(width, height)


def test_max_pixels_below_1_is_refused_by_field() -> None:
    with pytest.raises(SizeInvalid) as caught:
        PUBLISHED.plan(10, 10, 0)
    assert caught.value.violations[0].field == "max_pixels"


def test_aspect_names_limit_and_value() -> None:
    PUBLISHED.plan(200, 1)
    with pytest.raises(AspectTooExtreme) as caught:
        PUBLISHED.plan(402, 2)
    assert caught.value.metadata == {"width": "402", "height": "2", "limit": "200", "actual": "201.0"}


@pytest.mark.parametrize(
    "limits",
    [
        {"size": {"shortest_edge": 4096, "longest_edge": 99_999}},
        {"min_pixels": 4096, "max_pixels": 99_999},
        {"min_pixels": 4096, "max_pixels": 99_999, "size": {"shortest_edge": 1, "longest_edge": 2}},
    ],
)
def test_geometry_is_read_from_a_checkpoint(tmp_path: Path, limits: dict[str, object]) -> None:
    write(tmp_path, {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2} | limits)
    read = Geometry.from_checkpoint(tmp_path)
    assert read == Geometry(patch=14, min_pixels=4096, max_pixels=99_999)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"patch_size": 16}', '{"patch_size": "16", "merge_size": 2}']
)
def test_an_unusable_preprocessor_config_is_a_typed_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(CheckpointNotSupported):
        Geometry.from_checkpoint(tmp_path)


def test_a_missing_preprocessor_config_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(FoveaError, match=r"no preprocessor_config\.json"):
        Geometry.from_checkpoint(tmp_path)


def write(directory: Path, config: dict[str, object]) -> None:
    (directory / "preprocessor_config.json").write_text(json.dumps(config))
