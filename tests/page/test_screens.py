"""The screenshots of docs/page.md. `make test-page SHOTS=docs/img` writes them; otherwise they are only taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.conftest import opened_tab
from tests.page.pictures import CHART_QUESTION, chart, letter
from tests.page.site import Site
from tests.page.tab import Tab

MAX_BYTES = 200_000
WIDE = {"width": 1280, "height": 900}
TALL = {"width": 1280, "height": 1100}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(os.environ.get("PAGE_SHOTS") or tmp_path)


def keep(tab: Tab, path: Path, *, whole: bool = False) -> None:
    tab.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    tab.page.mouse.move(0, 0)
    tab.shoot(path, whole=whole)
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answer_with_its_receipt(browser: Browser, site: Site, folder: Path, scheme: str) -> None:
    with opened_tab(browser, site, viewport=WIDE, color_scheme=scheme) as tab:
        tab.page.get_by_role("button", name="Understood").click()
        tab.drop(chart(), "chart.png")
        tab.view().get_by_text("Drop tokens").click()
        tab.view().get_by_label("Uniform patches").check()
        expect(tab.view().locator(".known")).to_contain_text("hatched")
        tab.ask(CHART_QUESTION)
        keep(tab, folder / f"page-{scheme}.png")


def test_the_phone(browser: Browser, site: Site, folder: Path) -> None:
    with opened_tab(browser, site, viewport=PHONE, device_scale_factor=2) as tab:
        tab.drop(chart(), "chart.png")
        tab.slide(0)
        keep(tab, folder / "page-phone.png")


def test_two_budgets(browser: Browser, site: Site, folder: Path) -> None:
    with opened_tab(browser, site, viewport=WIDE) as tab:
        tab.page.get_by_role("button", name="Understood").click()
        tab.drop(letter(), "letter.png")
        tab.page.get_by_label("Compare two budgets").check()
        tab.wait_for_plans(views=2)
        keep(tab, folder / "page-compare.png")


def test_the_usage(browser: Browser, site: Site, folder: Path) -> None:
    with opened_tab(browser, site, "ops", viewport=TALL) as tab:
        tab.page.get_by_role("button", name="Understood").click()
        tab.open("/#usage")
        expect(tab.page.locator("#usage .chart")).to_be_visible()
        keep(tab, folder / "page-usage.png")
