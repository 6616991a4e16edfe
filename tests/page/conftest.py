"""A browser and a site for the whole run, and a fresh tab for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser

from bench.parts import page_trace
from tests.page.site import Site, running
from tests.page.tab import Tab

DESKTOP = {"width": 1280, "height": 860}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "page":
            item.add_marker(pytest.mark.page)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as started:
        yield started


@pytest.fixture(scope="session")
def browser(site: Site) -> Iterator[Browser]:
    """After the site, because Playwright keeps an event loop running in this thread."""
    if page_trace.browser_path() is None:
        missing = "Chromium is not installed: apt-get install chromium"
        (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(missing)
    with page_trace.browser() as opened:
        yield opened


@contextmanager
def opened_tab(browser: Browser, site: Site, tenant: str = "acme", **options: Any) -> Iterator[Tab]:
    """A tab of its own, with the tenant's token. Leaving fails if the browser complained or left the site."""
    context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
    try:
        if tenant:
            context.add_init_script(f"sessionStorage.setItem('fovea.token', '{site.tokens[tenant]}')")
        tab = Tab(context.new_page(), site)
        tab.open()
        yield tab
        assert not tab.complaints
        assert not tab.strangers
    finally:
        context.close()


@pytest.fixture
def tab(browser: Browser, site: Site) -> Iterator[Tab]:
    with opened_tab(browser, site) as opened:
        yield opened
