"""Plans follow the budget, step by step; a request that does not fit is told the largest max_pixels that does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.budget.planned import PlannedImage
from decoder_svc.budget.planner import check_fit, plan
from fovea.contract.budget import Detail, OnOverBudget, ReductionMode
from fovea.contract.errors import AspectTooExtreme, ContextTooLong, VisualBudgetExceeded
from fovea.contract.plan import Reducer
from fovea.geometry import DEFAULT_MAX_PIXELS, MAX_ASPECT, Geometry
from fovea.planning.detail import ImageTraits
from fovea.planning.sizes import largest_for_all as largest_max_pixels
from fovea.planning.sizes import stands

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


def planned(*looks: ImageTraits, **budget: Any) -> list[PlannedImage]:
    budget.setdefault("max_pixels", DEFAULT_MAX_PIXELS)
    return plan(looks, ServerBudget(**budget), PUBLISHED)


def told(one: PlannedImage) -> list[tuple[str, int, int, str]]:
    return [(step.name, step.before, step.after, step.reason) for step in one.steps]


def cost(images: list[tuple[int, int]], max_pixels: int, geometry: Geometry) -> int:
    wanted = [ImageTraits(*size) for size in images]
    return sum(p.planned.tokens for p in plan(wanted, ServerBudget(max_pixels), geometry))


def check(text: int, images: list[tuple[int, int]], max_pixels: int, new: int, context: int) -> None:
    check_fit(text, cost(images, max_pixels, PUBLISHED), images, new, context, PUBLISHED)


def fits_from(images: list[tuple[int, int]], tokens: int, geometry: Geometry) -> int | None:
    """By trying every value from the top, which only a small range allows."""
    values = range(geometry.max_pixels, geometry.min_pixels - 1, -1)
    return next((m for m in values if cost(images, m, geometry) <= tokens), None)


@given(images=sizes, max_pixels=st.integers(PUBLISHED.min_pixels, PUBLISHED.max_pixels))
def test_plans_are_the_geometrys_in_order(images: list[tuple[int, int]], max_pixels: int) -> None:
    plans = planned(*(ImageTraits(*size) for size in images), max_pixels=max_pixels)
    assert [p.planned for p in plans] == [PUBLISHED.plan(w, h, max_pixels) for w, h in images]
    assert {p.plan.max_pixels for p in plans} == {max_pixels}
    assert all(p.sent == p.sent_min == p.planned.tokens and not p.plan.by_content for p in plans)


def test_an_image_without_a_plan_is_refused() -> None:
    with pytest.raises(AspectTooExtreme):
        planned(ImageTraits(640, 480), ImageTraits(1, 500))


def test_every_lowered_detail_is_reported_with_its_reason() -> None:
    look = ImageTraits(2000, 1600, text_height=14, kind="TEXT")
    (one,) = planned(look, max_pixels=2_000_000, detail=Detail.AUTO, max_visual_tokens=300)
    assert told(one) == [
        ("resize", 3100, 1911, "max_pixels 2000000"),
        ("resize", 1911, 1620, "detail auto: text 14 px"),
        ("resize", 1620, 285, "budget 300"),
    ]
    (short,) = planned(ImageTraits(2000, 1500), max_pixels=PUBLISHED.max_pixels, max_short_side=768)
    assert told(short) == [("resize", 2914, 768, "max_short_side 768")]
    assert (short.planned.width, short.planned.height) == (1024, 768)


def test_a_reducer_that_resizes_never_reaches_an_encoder() -> None:
    (one,) = planned(ImageTraits(1000, 800), keep=0.5, reducer=Reducer.RESIZE)
    assert told(one) == [("reduce", 775, one.sent, "resize 50%")]
    assert 0.45 * 775 < one.sent <= 388
    assert one.plan.rows.all
    assert not one.plan.by_content


@pytest.mark.parametrize(
    ("changes", "most", "least"),
    [
        ({"reduction": ReductionMode.ECONOMY}, 582, 582),
        ({"reduction": ReductionMode.AUTO}, 775, 16),
        ({"flat_tolerance": 0}, 775, 1),
        ({"flat_tolerance": 0, "reduction": ReductionMode.STRONG, "reducer": Reducer.STRIDE}, 388, 1),
    ],
)
def test_pixel_dependent_plans_have_bounds(changes: dict[str, Any], most: int, least: int) -> None:
    (one,) = planned(ImageTraits(1000, 800), **changes)
    assert (one.sent, one.sent_min, one.plan.by_content) == (most, least, True)


def test_auto_on_an_unmeasured_image_has_bounds() -> None:
    (one,) = planned(ImageTraits(1000, 800, measured=False), detail=Detail.AUTO)
    assert (one.sent, one.sent_min) == (775, 80)


def test_a_budget_counts_sent_rows_and_every_occurrence() -> None:
    half = ServerBudget(DEFAULT_MAX_PIXELS, max_visual_tokens=400, keep=0.5)
    (once,) = plan([ImageTraits(1000, 800)], half, PUBLISHED)
    assert (once.planned.tokens, once.sent) == (775, 388)
    (twice,) = plan([ImageTraits(1000, 800, times=2)], half, PUBLISHED)
    assert 190 <= twice.sent <= 200


def test_frames_of_a_size_are_planned_alike_so_that_near_repeats_are_found() -> None:
    """A split of a budget gives some of them more than others."""
    frames = [ImageTraits(1280, 720)] * 7

    def grids(**budget: Any) -> set[tuple[int, int, int]]:
        return {each.planned.grid_thw for each in planned(*frames, max_visual_tokens=900, **budget)}

    assert len(grids()) > 1
    assert len(grids(near_repeats=0.9)) == 1


@given(images=small_sizes, limit=st.integers(1, 60))
def test_the_size_that_an_exceeded_budget_names_is_not_changed_by_the_processor(
    images: list[tuple[int, int]], limit: int
) -> None:
    refuse = ServerBudget(SMALL.max_pixels, max_visual_tokens=limit, on_over_budget=OnOverBudget.REFUSE)
    try:
        plan([ImageTraits(*size) for size in images], refuse, SMALL)
    except VisualBudgetExceeded as error:
        fits = int(error.metadata["fits"])
        planned = [SMALL.plan(*size, fits) for size in images if fits]
        assert all(stands(each, SMALL) for each in planned)
        assert sum(each.tokens for each in planned) <= limit


def test_over_budget_can_be_refused_and_says_what_fits() -> None:
    refuse = ServerBudget(DEFAULT_MAX_PIXELS, max_visual_tokens=500, on_over_budget=OnOverBudget.REFUSE)
    wanted = [ImageTraits(1000, 800), ImageTraits(320, 320)]
    with pytest.raises(VisualBudgetExceeded) as caught:
        plan(wanted, refuse, PUBLISHED)
    metadata = {key: int(value) for key, value in caught.value.metadata.items()}
    assert (metadata["limit"], metadata["actual"]) == (500, 875)
    assert plan(wanted, replace(refuse, max_pixels=metadata["fits"]), PUBLISHED)
    with pytest.raises(VisualBudgetExceeded):
        plan(wanted, replace(refuse, max_pixels=metadata["fits"] + 1), PUBLISHED)
    never = ServerBudget(DEFAULT_MAX_PIXELS, max_visual_tokens=100)
    with pytest.raises(VisualBudgetExceeded) as caught:
        plan(wanted, never, PUBLISHED)
    assert caught.value.metadata["fits"] == "0"


def test_pressure_lowers_detail_step_by_step_and_not_below_the_least() -> None:
    look = ImageTraits(1000, 800, text_height=14, kind="TEXT")
    budget = ServerBudget(DEFAULT_MAX_PIXELS, min_detail=Detail.LOW)
    sizes = []
    for steps in range(4):
        (one,) = plan([look], budget.lowered(steps), PUBLISHED)
        sizes.append(one.sent)
        assert one.degraded == bool(steps)
    assert sizes[0] > sizes[1] > sizes[2] == sizes[3]
    assert one.steps[-1].reason == "pressure: detail low"
    assert budget.lowered(9).details == (Detail.HIGH, Detail.AUTO, Detail.LOW)
    assert replace(budget, min_detail=Detail.AUTO).lowered(2).details == (Detail.HIGH, Detail.AUTO)
    kept = replace(budget, min_detail=Detail.HIGH)
    assert kept.lowered(2) == kept


@given(
    images=sizes,
    text=st.integers(0, 9000),
    new=st.integers(1, 512),
    context=st.integers(512, 16_384),
    max_pixels=st.integers(PUBLISHED.min_pixels, PUBLISHED.max_pixels),
)
@settings(deadline=None)
def test_only_requests_beyond_the_context_are_refused(
    images: list[tuple[int, int]], text: int, new: int, context: int, max_pixels: int
) -> None:
    tokens = text + cost(images, max_pixels, PUBLISHED)
    if tokens + new <= context:
        check(text, images, max_pixels, new, context)
        return
    with pytest.raises(ContextTooLong) as caught:
        check(text, images, max_pixels, new, context)
    facts = {key: int(value) for key, value in caught.value.metadata.items()}
    named = facts.pop("max_pixels_that_fits")
    assert facts == {"limit": context, "prompt_tokens": tokens, "max_new_tokens": new}
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


@pytest.mark.long
@given(images=small_sizes, tokens=st.integers(1, 150))
@settings(deadline=None, max_examples=10)
def test_the_named_value_is_the_largest_of_all(images: list[tuple[int, int]], tokens: int) -> None:
    assert largest_max_pixels(images, tokens, SMALL) == fits_from(images, tokens, SMALL)


def test_non_monotonic_costs_are_handled() -> None:
    """1500x20 is 47 cells as it is, and more where it must be scaled: a low side is still one cell high."""
    image = [(1500, 20)]
    own = 47 * 1024
    assert cost(image, own, SMALL) == 47
    assert cost(image, own - 1, SMALL) > 47
    assert largest_max_pixels(image, 47, SMALL) == SMALL.max_pixels
    both = [*image, (256, 256)]
    assert largest_max_pixels(both, 47 + 63, SMALL) == fits_from(both, 47 + 63, SMALL)


def test_an_a4_page_error_names_the_size_that_fits() -> None:
    assert cost([A4], PUBLISHED.max_pixels, PUBLISHED) == 8580
    with pytest.raises(ContextTooLong) as caught:
        check(40, [A4], PUBLISHED.max_pixels, 256, 8192)
    named = int(caught.value.metadata["max_pixels_that_fits"])
    assert f"max_pixels {named} fits" in caught.value.message
    assert caught.value.metadata["prompt_tokens"] == "8620"
    check(40, [A4], named, 256, 8192)
    with pytest.raises(ContextTooLong):
        check(40, [A4], named + 1, 256, 8192)


def test_text_that_fills_the_context_leaves_no_room_for_images() -> None:
    with pytest.raises(ContextTooLong) as caught:
        check(8000, [A4], DEFAULT_MAX_PIXELS, 256, 8192)
    assert caught.value.metadata["max_pixels_that_fits"] == "0"
    assert "no max_pixels" in caught.value.message


def test_errors_of_text_only_requests_name_no_size() -> None:
    check_fit(7936, 0, [], 256, 8192, PUBLISHED)
    with pytest.raises(ContextTooLong) as caught:
        check_fit(7937, 0, [], 256, 8192, PUBLISHED)
    assert "max_pixels_that_fits" not in caught.value.metadata


@given(images=sizes, tokens=st.integers(64, 20_000))
@settings(deadline=None)
def test_a_single_image_agrees_with_the_search_of_the_geometry(
    images: list[tuple[int, int]], tokens: int
) -> None:
    width, height = images[0]
    own = PUBLISHED.largest_fitting(width, height, tokens)
    assume(own is not None and own >= PUBLISHED.min_pixels)
    assert largest_max_pixels(images[:1], tokens, PUBLISHED) == own
