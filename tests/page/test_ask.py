"""A question, the answer as it streams, its receipt, and two budgets side by side."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from tests.page.pictures import CHART_ANSWER, CHART_QUESTION, chart
from tests.page.tab import ANSWER_MS, Tab


def number(text: str, name: str) -> int:
    """The number after a name in the key of a bar."""
    match = re.search(rf"{name}\s+([\d,]+)", text)
    assert match, text
    return int(match[1].replace(",", ""))


def test_an_answer_streams_and_its_receipt_equals_the_plan(tab: Tab) -> None:
    tab.drop(chart(), "chart.png")
    tab.slide(0)
    planned = tab.tokens()
    tab.ask(CHART_QUESTION)
    assert tab.text() == CHART_ANSWER
    receipt = tab.answer().locator(".receipt")
    assert number(receipt.locator(".receipt-tokens .key").inner_text(), "Visual") == planned
    stages = receipt.locator(".receipt-stages")
    for name in ("Queue", "Encode", "Prefill"):
        assert name in stages.get_by_role("img").get_attribute("aria-label")
    assert stages.locator(".bar i").count() >= 2
    expect(receipt).to_contain_text("€")
    request = receipt.locator(".mono").inner_text()
    with tab.site.client() as client:
        while not (records := client.get_usage(request)):  # the ledger writes a moment after the answer
            pass
    (record,) = records
    assert record.receipt.totals.visual_tokens == planned


def test_deltas_are_shown_before_the_answer_ends(tab: Tab) -> None:
    """The stream of the gateway is replaced, so that it stops in the middle of an answer."""
    tab.drop(chart(), "chart.png")
    head = 'data: {"choices":[{"delta":{"content":"yel"}}]}\n\n'
    end = 'data: {"error":{"message":"the engine has failed","code":"ENGINE_FAILED"}}\n\n'
    tab.page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(body=head + end, content_type="text/event-stream"),
    )
    tab.page.get_by_label("Question", exact=True).fill(CHART_QUESTION)
    tab.page.get_by_role("button", name="Ask", exact=True).click()
    expect(tab.page.get_by_role("alert")).to_contain_text("the engine has failed")
    expect(tab.page.get_by_role("alert")).to_contain_text("ENGINE_FAILED")
    assert tab.text() == "yel"


def test_stop_ends_a_running_answer(tab: Tab) -> None:
    held: list[Route] = []
    tab.drop(chart(), "chart.png")
    tab.page.route("**/v1/chat/completions", lambda route: held.append(route))
    tab.page.get_by_label("Question", exact=True).fill(CHART_QUESTION)
    tab.page.get_by_role("button", name="Ask", exact=True).click()
    tab.page.get_by_role("button", name="Stop").click()
    expect(tab.page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    expect(tab.page.get_by_role("button", name="Stop")).to_be_hidden()


def test_two_budgets_are_compared_side_by_side(tab: Tab) -> None:
    tab.drop(chart(), "chart.png")
    tab.page.get_by_label("Compare two budgets").check()
    tab.wait_for_plans(views=2)
    tab.slide(tab.stops() - 1, at=0)
    tab.slide(0, at=1)
    high, low = tab.tokens(0), tab.tokens(1)
    assert high > low
    tab.ask(CHART_QUESTION, answers=2)
    for at, tokens in enumerate((high, low)):
        key = tab.answer(at).locator(".receipt-tokens .key").inner_text()
        assert number(key, "Visual") == tokens
    left, right = (tab.view(at).bounding_box() for at in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    tab.page.get_by_label("Compare two budgets").uncheck()
    expect(tab.page.locator(".view")).to_have_count(1)


def test_an_error_says_what_to_do(tab: Tab) -> None:
    """The server has let go of the picture between plan and question."""
    tab.drop(chart(5), "chart.png")
    with tab.site.client() as client:
        client.delete(chart(5))
    tab.expected.append("status of 404")
    tab.page.get_by_label("Question", exact=True).fill("What?")
    tab.page.get_by_role("button", name="Ask", exact=True).click()
    alert = tab.page.get_by_role("alert")
    expect(alert).to_contain_text("Choose it again", timeout=ANSWER_MS)
    expect(alert).to_contain_text("IMAGE_NOT_STORED")
