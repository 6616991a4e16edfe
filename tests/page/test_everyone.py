"""For everyone: keyboard, phone, dark, screen readers; and nothing from another address."""

from __future__ import annotations

import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from bench.parts.page_trace import drop
from tests.page.conftest import opened_tab
from tests.page.pictures import CHART_ANSWER, CHART_QUESTION, chart
from tests.page.site import Site
from tests.page.tab import ANSWER_MS, Tab

PHONE = {"width": 360, "height": 740}
SERIOUS = {"serious", "critical"}
MOST_TABS = 40


def focus(tab: Tab, selector: str) -> None:
    """Press Tab until the element has the focus; its outline must be visible."""
    for _ in range(MOST_TABS):
        tab.page.keyboard.press("Tab")
        found = tab.page.evaluate(f"document.activeElement?.matches({selector!r})")
        if found:
            style = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style not in ("none", ""), selector
            return
    raise AssertionError(f"{selector} cannot be reached with Tab")


def test_everything_works_with_the_keyboard_alone(tab: Tab) -> None:
    file = {"name": "chart.png", "mimeType": "image/png", "buffer": chart()}
    # Set before the key is pressed: Playwright tells the browser to leave choosers to it without waiting.
    tab.page.on("filechooser", lambda chooser: chooser.set_files(file))
    focus(tab, "#choose")
    tab.page.keyboard.press("Enter")
    tab.wait_for_plans()
    focus(tab, ".detail")
    before = tab.tokens()
    tab.page.keyboard.press("Home")
    assert tab.tokens() < before
    focus(tab, "#question")
    tab.page.keyboard.type(CHART_QUESTION)
    focus(tab, "#ask")
    tab.page.keyboard.press("Enter")
    expect(tab.answer().locator(".receipt")).to_be_visible(timeout=ANSWER_MS)
    assert tab.text() == CHART_ANSWER
    focus(tab, "#to-usage")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="Usage")).to_be_visible()


def test_nothing_is_wider_than_a_phone(browser: Browser, site: Site) -> None:
    with opened_tab(browser, site, viewport=PHONE, has_touch=True) as tab:
        assert tab.overflow() == 0
        tab.drop(chart(), "a-rather-long-name-of-a-picture-without-any-space-in-it.png")
        tab.page.get_by_label("Compare two budgets").check()
        tab.wait_for_plans(views=2)
        tab.ask(CHART_QUESTION, answers=2)
        assert tab.overflow() == 0
        tab.page.get_by_role("button", name="Access", exact=True).click()
        assert tab.overflow() == 0
        tab.open("/#usage")
        expect(tab.page.locator(".cards")).to_be_visible()
        assert tab.overflow() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["empty", "answered", "compared", "usage", "access", "refused"])
def test_axe_finds_nothing_serious(browser: Browser, site: Site, scheme: str, state: str) -> None:
    with opened_tab(browser, site, color_scheme=scheme) as tab:
        _bring_to(tab, state)
        found = Axe().run(tab.page).response["violations"]
        serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS]
        assert not serious


def _bring_to(tab: Tab, state: str) -> None:
    if state in ("answered", "compared"):
        tab.drop(chart(), "chart.png")
        tab.view().get_by_text("Drop tokens").click()
    if state == "answered":
        tab.ask(CHART_QUESTION)
    elif state == "compared":
        tab.page.get_by_label("Compare two budgets").check()
        tab.wait_for_plans(views=2)
        tab.ask(CHART_QUESTION, answers=2)
    elif state == "usage":
        tab.open("/#usage")
        expect(tab.page.locator("#usage")).not_to_be_empty()
    elif state == "access":
        tab.page.get_by_role("button", name="Access", exact=True).click()
    elif state == "refused":
        drop(tab.page, b"no picture", "notes.txt", "text/plain")
        expect(tab.page.get_by_role("alert")).to_be_visible()


def test_the_dark_page_is_dark(browser: Browser, site: Site) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        with opened_tab(browser, site, color_scheme=scheme) as tab:
            colours[scheme] = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    light, dark = (sum(map(int, colour[4:-1].split(","))) for colour in (colours["light"], colours["dark"]))
    assert light > 600 > 150 > dark


def test_the_policy_allows_nothing_but_the_gateways_own_files(site: Site) -> None:
    """That the page works under it, without a word in the console, is checked after every test with a tab."""
    with urllib.request.urlopen(site.url) as reply:
        policy, body = reply.headers["content-security-policy"], reply.read().decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in policy
    assert "style=" not in body
    assert "<style" not in body
    assert "http://" not in body
    assert "https://" not in body


INJECTED = """() => new Promise((resolve) => {
  const stopped = new Set();
  addEventListener("securitypolicyviolation", (event) => {
    stopped.add(event.effectiveDirective);
    if (stopped.size === 3) resolve([...stopped]);
  });
  document.body.insertAdjacentHTML("beforeend", '<img src="/page/icon.svg" onload="window.hit = 1">');
  const script = document.createElement("script");
  script.textContent = "window.hit = 2";
  document.body.append(script);
  fetch("https://example.invalid/").catch(() => {});
})"""


def test_an_injected_script_does_not_run(tab: Tab) -> None:
    """The policy stops what a flaw in the page might let in."""
    tab.expected.append("Content Security Policy")
    assert set(tab.page.evaluate(INJECTED)) == {"script-src-attr", "script-src-elem", "connect-src"}
    assert tab.page.evaluate("window.hit") is None
    tab.strangers.clear()


def test_text_of_the_server_is_never_markup(tab: Tab) -> None:
    tab.drop(chart(), "<img src=x onerror=alert(1)>.png")
    expect(tab.page.locator("#held-name")).to_have_text("<img src=x onerror=alert(1)>.png")
    assert tab.page.locator("#held-name img").count() == 0


def test_reduced_motion_has_no_animation(tab: Tab) -> None:
    moving = tab.page.evaluate("document.getAnimations().length")
    assert moving == 0
    assert tab.page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
