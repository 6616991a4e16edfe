"""Plans are the geometry's; a request that does not fit is told the largest max_pixels that does."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from decoder_svc.errors import ContextTooLong
from decoder_svc.planner import check_fit, largest_max_pixels, plan
from fovea.geometry import DEFAULT_MAX_PIXELS, MAX_ASPECT, AspectTooExtreme, Geometry

PUBLISHED = Geometry()
SMALL = Geometry(min_pixels=4 * 1024, max_pixels=64 * 1024)
A4 = (2480, 3508)  # 300 dpi

sizes = st.lists(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)).filter(lambda s: max(s) <= MAX_ASPECT * min(s)),
    min_size=1,
    max_size=5,
)
small_sizes = st.lists(
    st.tuples(st.integers(8, 500), st.integers(8, 500)).filter(lambda s: max(s) <= MAX_ASPECT * min(s)),
    min_size=1,
    max_size=3,
)


def cost(images: list[tuple[int, int]], max_pixels: int, geometry: Geometry) -> int:
    return sum(p.planned.tokens for p in plan(images, max_pixels, geometry))


def placed(images: list[tuple[int, int]], max_pixels: int) -> list[tuple[int, int, int]]:
    return [(*size, max_pixels) for size in images]


def fits_from(images: list[tuple[int, int]], tokens: int, geometry: Geometry) -> int | None:
    """By trying every value from the top, which only a small range allows."""
    values = range(geometry.max_pixels, geometry.min_pixels - 1, -1)
    return next((m for m in values if cost(images, m, geometry) <= tokens), None)


@given(images=sizes, max_pixels=st.integers(PUBLISHED.min_pixels, PUBLISHED.max_pixels))
def test_plans_are_the_geometrys_in_order(images: list[tuple[int, int]], max_pixels: int) -> None:
    plans = plan(images, max_pixels, PUBLISHED)
    assert [p.planned for p in plans] == [PUBLISHED.plan(w, h, max_pixels) for w, h in images]
    assert {p.max_pixels for p in plans} == {max_pixels}


def test_an_image_without_a_plan_is_refused() -> None:
    with pytest.raises(AspectTooExtreme):
        plan([(640, 480), (1, 500)], DEFAULT_MAX_PIXELS, PUBLISHED)


@given(
    images=sizes,
    text=st.integers(0, 9000),
    new=st.integers(1, 512),
    context=st.integers(512, 16_384),
    max_pixels=st.integers(PUBLISHED.min_pixels, PUBLISHED.max_pixels),
)
@settings(deadline=None)
def test_what_does_not_fit_is_refused_and_nothing_else(
    images: list[tuple[int, int]], text: int, new: int, context: int, max_pixels: int
) -> None:
    tokens = text + cost(images, max_pixels, PUBLISHED)
    if tokens + new <= context:
        check_fit(text, placed(images, max_pixels), new, context, PUBLISHED)
        return
    with pytest.raises(ContextTooLong) as caught:
        check_fit(text, placed(images, max_pixels), new, context, PUBLISHED)
    told = {key: int(value) for key, value in caught.value.metadata.items()}
    named = told.pop("max_pixels_that_fits")
    assert told == {"limit": context, "prompt_tokens": tokens, "max_new_tokens": new}
    assert named == 0 or text + cost(images, named, PUBLISHED) + new <= context


@given(images=sizes, tokens=st.integers(1, 20_000))
@settings(deadline=None)
def test_the_next_pixel_would_not_fit(images: list[tuple[int, int]], tokens: int) -> None:
    found = largest_max_pixels(images, tokens, PUBLISHED)
    if found is None:
        assert cost(images, PUBLISHED.min_pixels, PUBLISHED) > tokens
    else:
        assert PUBLISHED.min_pixels <= found <= PUBLISHED.max_pixels
        assert cost(images, found, PUBLISHED) <= tokens
        above = [found + 1, found + 1024, *((found + PUBLISHED.max_pixels) // k for k in (1, 2))]
        for more in above:
            if found < more <= PUBLISHED.max_pixels:
                assert cost(images, more, PUBLISHED) > tokens


@given(images=small_sizes, tokens=st.integers(1, 150))
@settings(deadline=None, max_examples=25)
def test_the_named_value_is_the_largest_of_all(images: list[tuple[int, int]], tokens: int) -> None:
    assert largest_max_pixels(images, tokens, SMALL) == fits_from(images, tokens, SMALL)


def test_a_cost_that_falls_where_scaling_ends_is_found() -> None:
    """1500x20 is 47 cells as it is, and more where it must be scaled: a low side is still one cell high."""
    image = [(1500, 20)]
    own = 47 * 1024
    assert cost(image, own, SMALL) == 47
    assert cost(image, own - 1, SMALL) > 47
    assert largest_max_pixels(image, 47, SMALL) == SMALL.max_pixels
    both = [*image, (256, 256)]
    assert largest_max_pixels(both, 47 + 63, SMALL) == fits_from(both, 47 + 63, SMALL)


def test_an_a4_page_is_told_what_fits() -> None:
    at_full = placed([A4], PUBLISHED.max_pixels)
    assert cost([A4], PUBLISHED.max_pixels, PUBLISHED) == 8580
    with pytest.raises(ContextTooLong) as caught:
        check_fit(40, at_full, 256, 8192, PUBLISHED)
    named = int(caught.value.metadata["max_pixels_that_fits"])
    assert f"max_pixels {named} fits" in caught.value.message
    assert caught.value.metadata["prompt_tokens"] == "8620"
    check_fit(40, placed([A4], named), 256, 8192, PUBLISHED)
    with pytest.raises(ContextTooLong):
        check_fit(40, placed([A4], named + 1), 256, 8192, PUBLISHED)


def test_text_that_fills_the_context_leaves_no_size() -> None:
    with pytest.raises(ContextTooLong) as caught:
        check_fit(8000, placed([A4], DEFAULT_MAX_PIXELS), 256, 8192, PUBLISHED)
    assert caught.value.metadata["max_pixels_that_fits"] == "0"
    assert "no max_pixels" in caught.value.message


def test_without_images_no_size_is_named() -> None:
    check_fit(7936, [], 256, 8192, PUBLISHED)
    with pytest.raises(ContextTooLong) as caught:
        check_fit(7937, [], 256, 8192, PUBLISHED)
    assert "max_pixels_that_fits" not in caught.value.metadata


@given(images=sizes, tokens=st.integers(64, 20_000))
@settings(deadline=None)
def test_one_image_agrees_with_the_geometrys_own_search(images: list[tuple[int, int]], tokens: int) -> None:
    width, height = images[0]
    own = PUBLISHED.largest_fitting(width, height, tokens)
    assume(own is not None and own >= PUBLISHED.min_pixels)
    assert largest_max_pixels(images[:1], tokens, PUBLISHED) == own
