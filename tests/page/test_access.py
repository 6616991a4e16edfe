"""Tokens, and the sentence about the model."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.page.conftest import opened_tab
from tests.page.site import Site
from tests.page.tab import Tab


def test_without_a_token_the_page_asks_for_one_and_keeps_it_in_the_tab(browser: Browser, site: Site) -> None:
    with opened_tab(browser, site, "") as tab:
        tab.expected.append("status of 401")
        tab.complaints.clear()
        alert = tab.page.get_by_role("alert")
        expect(alert).to_contain_text("token")
        alert.get_by_role("button", name="Open access").click()
        tab.page.get_by_label("Bearer token").fill(site.tokens["acme"])
        tab.page.get_by_role("button", name="Use it").click()
        expect(tab.page.get_by_role("alert")).to_have_count(0)
        expect(tab.page.locator("#server")).to_contain_text("fovea-standin")
        kept = tab.page.evaluate(
            "[document.cookie, localStorage.length, location.href, sessionStorage['fovea.token']]"
        )
        assert kept == ["", 0, f"{site.url}/", site.tokens["acme"]]
        tab.page.get_by_role("button", name="Access", exact=True).click()
        tab.page.get_by_role("button", name="Forget").click()
        assert tab.page.evaluate("sessionStorage.length") == 0


def test_an_unknown_token_is_refused_plainly(browser: Browser, site: Site) -> None:
    with opened_tab(browser, site, "") as tab:
        tab.expected.append("status of 401")
        tab.complaints.clear()
        tab.page.get_by_role("button", name="Access", exact=True).click()
        tab.page.get_by_label("Bearer token").fill("not-a-token")
        tab.page.get_by_role("button", name="Use it").click()
        expect(tab.page.get_by_role("alert")).to_contain_text("TOKEN_UNKNOWN")
        expect(tab.page.locator("#server")).to_have_text("needs a token")


def test_the_notice_of_the_model_is_shown_once(tab: Tab) -> None:
    notice = tab.page.get_by_role("note", name="About the model")
    expect(notice).to_contain_text(str(tab.site.client().info().details["model_notice"]))
    notice.get_by_role("button", name="Understood").click()
    expect(notice).to_be_hidden()
    tab.open()
    expect(notice).to_be_hidden()
