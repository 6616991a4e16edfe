"""The picture, its grid, and the slider: all before anything is asked."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from bench.parts.page_trace import drop, wait_for_grid
from fovea.client import Budget
from tests.page.pictures import chart, letter, pdf
from tests.page.tab import ANSWER_MS, Tab


def test_the_grid_has_a_cell_for_each_token_of_the_server(tab: Tab) -> None:
    """The lines are counted in the pixels of the drawn grid, at every stop of the slider."""
    data = letter()
    tab.drop(data, "letter.png")
    default = tab.site.client().count("", [data])
    assert tab.tokens() == default.visual_tokens
    for stop in range(tab.stops()):
        tab.slide(stop)
        columns, rows, painted = tab.grid()
        assert tab.lines() == (columns, rows)
        assert columns * rows == painted == tab.tokens()


def test_the_grid_is_there_while_the_file_is_on_its_way(tab: Tab) -> None:
    held: list[Route] = []
    tab.page.route("**/page/api/images", lambda route: held.append(route))
    drop(tab.page, chart(), "chart.png", "image/png")
    expect(tab.view().locator("dd.tokens")).to_contain_text("768")
    assert tab.grid() == (32, 24, 768)
    expect(tab.view().locator("dd.text")).to_contain_text("measured once")
    wait_for_grid(tab.page)
    (upload,) = held
    upload.continue_()
    tab.wait_for_plans()


def test_the_slider_shows_tokens_price_and_what_stays_readable(tab: Tab) -> None:
    """Nothing has been asked: the ledger has no record more."""
    before = sum(each.requests for each in tab.site.client().summarize_usage())
    tab.drop(letter(), "letter.png")
    seen = []
    for stop in range(tab.stops()):
        tab.slide(stop)
        price, text = (tab.view().locator(f"dd.{name}").inner_text() for name in ("price", "text"))
        assert "€" in price
        seen.append((tab.tokens(), float(text.split(" px")[0]), "hard to read" in text))
    assert len(seen) > 4
    assert [tokens for tokens, _, _ in seen] == sorted({tokens for tokens, _, _ in seen})
    heights = [px for _, px, _ in seen]
    assert heights == sorted(heights)
    assert [hard for _, _, hard in seen] == [px < 10 for px in heights]
    assert seen[0][2]
    assert not seen[-1][2]
    assert sum(each.requests for each in tab.site.client().summarize_usage()) == before


def test_the_stop_auto_keeps_text_readable(tab: Tab) -> None:
    tab.drop(letter(), "letter.png")
    names = []
    for stop in range(tab.stops()):
        tab.slide(stop)
        name = tab.view().locator(".stop-name").inner_text()
        names.append(name)
        if "auto" in name:
            assert "readable" in tab.view().locator("dd.text").inner_text()
            assert (
                tab.tokens()
                == tab.site.client().count("", [letter()], budget=Budget(detail="auto")).visual_tokens
            )
    assert any("auto" in name for name in names)


def test_uniform_patches_are_hatched_before_asking(tab: Tab) -> None:
    tab.drop(chart(), "chart.png")
    tab.view().get_by_text("Drop tokens").click()
    tab.view().get_by_label("Uniform patches").check()
    expect(tab.view().locator(".known")).to_contain_text("hatched")
    count = tab.site.client().count("", [chart()], budget=Budget(flat_tolerance=0))
    assert count.exact
    assert count.visual_tokens < 768
    assert (tab.tokens(), tab.grid()[2]) == (count.visual_tokens, count.visual_tokens)
    assert len(count.plans[0].kept) == count.visual_tokens
    expect(tab.view().locator(".steps")).to_contain_text("Uniform patches")


def test_what_the_ranking_keeps_is_hatched_after_asking_and_not_before(tab: Tab) -> None:
    tab.drop(chart(), "chart.png")
    tab.view().get_by_text("Drop tokens").click()
    tab.view().get_by_label("Of the others keep").select_option("strong")
    expect(tab.view().locator(".known")).to_contain_text("known after asking")
    assert (tab.tokens(), tab.grid()[2]) == (384, 768)
    tab.ask("What is this picture?")
    expect(tab.view().locator(".known")).to_contain_text("hatched", timeout=ANSWER_MS)
    assert (tab.tokens(), tab.grid()[2]) == (384, 384)


def test_a_pdf_becomes_a_picture_for_each_page(tab: Tab) -> None:
    tab.drop(pdf(pages=2), "letters.pdf", "application/pdf")
    pages = tab.page.get_by_role("group", name="Pages of the PDF").get_by_role("button")
    expect(pages).to_have_count(2)
    expect(pages.first).to_have_attribute("aria-pressed", "true")
    first = tab.tokens()
    pages.nth(1).click()
    expect(pages.nth(1)).to_have_attribute("aria-pressed", "true")
    tab.wait_for_plans()
    expect(tab.page.locator("#held-name")).to_contain_text("page 2")
    assert tab.tokens() > 0 < first


@pytest.mark.parametrize(("data", "name", "message"), [
    (b"no picture at all", "notes.txt", "no picture"),
    (b"%PDF-1.7 damaged", "broken.pdf", "damaged"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_as_such(tab: Tab, data: bytes, name: str, message: str) -> None:
    tab.expected.append("status of 400")
    drop(tab.page, data, name, "application/octet-stream")
    expect(tab.page.get_by_role("alert")).to_contain_text(message)
