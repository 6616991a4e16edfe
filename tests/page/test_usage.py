"""The usage view: a tenant sees its own use, an operator that of all tenants."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from fovea.client import Sampling
from tests.page.conftest import opened_tab
from tests.page.pictures import CHART_QUESTION, chart
from tests.page.site import Site


def asked(site: Site, tenant: str, times: int = 1) -> None:
    with site.client(tenant) as client:
        for _ in range(times):
            client.ask(CHART_QUESTION, [chart(1)], sampling=Sampling(max_new_tokens=4))


def recorded(site: Site, tenant: str) -> None:
    """The ledger writes its records a moment after the answers."""
    with site.client(tenant) as client:
        while not client.summarize_usage():
            pass


def test_a_tenant_sees_its_own_use_only(browser: Browser, site: Site) -> None:
    for tenant in ("acme", "globex"):
        asked(site, tenant)
        recorded(site, tenant)
    with opened_tab(browser, site, "globex") as tab:
        tab.open("/#usage")
        usage = tab.page.locator("#usage")
        expect(usage.get_by_role("table").first).to_contain_text("globex")
        assert "acme" not in usage.inner_text()
        for name in ("Requests", "Visual tokens", "Row hits", "First token", "Price"):
            expect(usage.locator(".cards")).to_contain_text(name)
        (summary,) = site.client("globex").summarize_usage("tenant")  # none of its requests was refused
        cells = (
            usage.get_by_role("table").first.get_by_role("row").nth(1).get_by_role("cell").all_inner_texts()
        )
        assert cells[:2] == ["globex", str(summary.requests)]
        assert cells[4] == f"{summary.visual_tokens:,}"


def test_an_operator_sees_all_tenants_by_hour(browser: Browser, site: Site) -> None:
    for tenant in ("acme", "globex"):
        asked(site, tenant, times=2)
        recorded(site, tenant)
    with opened_tab(browser, site, "ops") as tab:
        tab.open("/#usage")
        usage = tab.page.locator("#usage")
        expect(usage.locator(".key")).to_contain_text("acme")
        expect(usage.locator(".key")).to_contain_text("globex")
        assert 24 <= usage.locator(".chart g").count() <= 26
        expect(usage.locator(".chart g title").last).to_contain_text("acme")
        expect(usage).to_contain_text("Anomalies")
        tab.page.get_by_label("Period").select_option("168")
        expect(usage.locator(".chart g").nth(100)).to_be_attached()


def test_without_requests_the_view_says_so(browser: Browser, site: Site) -> None:
    with opened_tab(browser, site, "empty") as tab:
        tab.open("/#usage")
        expect(tab.page.locator("#usage")).to_contain_text("No requests in this period")
