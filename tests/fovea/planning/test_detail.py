"""AUTO keeps text readable and shrinks images without text; LOW is the smallest useful size."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fovea.contract.image import ImageKind
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry
from fovea.planning.detail import Detail, ImageTraits, sufficient
from fovea.planning.sizes import smallest

GEOMETRY = Geometry()


def tokens(traits: ImageTraits, detail: Detail = Detail.AUTO) -> int:
    target = sufficient(traits, detail, 14, GEOMETRY)
    pixels = min(target.max_pixels, DEFAULT_MAX_PIXELS) if target else DEFAULT_MAX_PIXELS
    return GEOMETRY.plan(traits.width, traits.height, pixels).tokens


@pytest.mark.parametrize("size", [(1600, 1200), (2480, 3508), (700, 1900), (333, 222)])
@pytest.mark.parametrize("text", [15.0, 22.0, 40.0])
def test_auto_takes_the_smallest_size_with_readable_text(size: tuple[int, int], text: float) -> None:
    traits = ImageTraits(*size, text_height=text, kind="TEXT")
    target = sufficient(traits, Detail.AUTO, 14, GEOMETRY)
    assert target is not None
    planned = GEOMETRY.plan(*size, target.max_pixels)
    height = text * min(planned.width / size[0], planned.height / size[1])
    assert height >= 13.99
    assert planned.tokens * 1024 <= max(1.35 * size[0] * size[1] * (14 / text) ** 2, 90 * 1024)


def test_a_dense_page_keeps_its_size() -> None:
    traits = ImageTraits(1000, 1414, text_height=12.0, kind="TEXT")
    assert tokens(traits) == tokens(traits, Detail.HIGH)


def test_pictures_without_text_are_bounded_by_their_kind() -> None:
    photo = tokens(ImageTraits(1600, 1200, kind="PHOTO"))
    empty = tokens(ImageTraits(1600, 1200, kind="GRAPHIC"))
    busy = tokens(ImageTraits(1600, 1200, edge_density=0.3, kind="GRAPHIC"))
    assert photo == 540
    assert empty <= 256 < busy <= 576
    assert tokens(ImageTraits(300, 200, kind="PHOTO")) == tokens(ImageTraits(300, 200), Detail.HIGH)


@pytest.mark.parametrize(("kind", "like"), [("TABLE", "TEXT"), ("CHART", "GRAPHIC"), ("DRAWING", "GRAPHIC")])
@given(
    st.integers(28, 4000), st.integers(28, 4000), st.sampled_from([0.0, 9.0, 14.5, 60.0]), st.floats(0, 0.5)
)
def test_a_refined_kind_has_the_plan_of_the_kind_that_rules_give(
    kind: str, like: str, width: int, height: int, text: float, edges: float
) -> None:
    assume(max(width, height) < 200 * min(width, height))
    refined, by_rules = (ImageTraits(width, height, text, edges, ImageKind(each)) for each in (kind, like))
    for detail in Detail:
        assert tokens(refined, detail) == tokens(by_rules, detail)


@pytest.mark.parametrize("size", [(1600, 1200), (4000, 30), (33, 222), (28, 28)])
def test_a_blank_image_has_the_smallest_size_with_auto_alone(size: tuple[int, int]) -> None:
    blank, graphic = (ImageTraits(*size, kind=ImageKind(kind)) for kind in ("BLANK", "GRAPHIC"))
    assert tokens(blank) == GEOMETRY.plan(*size, smallest(size, 1, GEOMETRY)).tokens
    assert tokens(blank) <= tokens(graphic)
    assert (tokens(blank, Detail.LOW), tokens(blank, Detail.HIGH)) == (
        tokens(graphic, Detail.LOW),
        tokens(graphic, Detail.HIGH),
    )


@pytest.mark.parametrize("kind", ["TEXT", "TABLE"])
def test_a_page_whose_text_was_not_measured_keeps_its_size(kind: str) -> None:
    assert sufficient(ImageTraits(1600, 1200, kind=ImageKind(kind)), Detail.AUTO, 14, GEOMETRY) is None


def test_an_unmeasured_image_is_not_shrunk() -> None:
    assert sufficient(ImageTraits(1600, 1200), Detail.AUTO, 14, GEOMETRY) is None


def test_low_detail_is_256_tokens_or_the_whole_image() -> None:
    assert 200 <= tokens(ImageTraits(1600, 1200), Detail.LOW) <= 280
    assert tokens(ImageTraits(320, 256), Detail.LOW) == 80
