"""The time to the grid, from a trace: what bench/gateway.py prints as `grid_ms`."""

from __future__ import annotations

import json

import pytest

from bench.parts import page_trace
from tests.page.pictures import chart
from tests.page.tab import Tab


def test_the_trace_has_the_time_that_the_page_measures(tab: Tab) -> None:
    browser = tab.page.context.browser
    browser.start_tracing(page=tab.page, categories=list(page_trace.CATEGORIES))
    tab.drop(chart(), "chart.png")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    own = tab.page.evaluate(f"performance.getEntriesByName('{page_trace.MEASURE}')[0].duration")
    assert page_trace.measured_ms(events) == pytest.approx(own, abs=1)
    assert own > 0
    assert tab.grid() == (32, 24, 768)


def test_a_trace_without_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="drop-to-grid"):
        page_trace.measured_ms([{"name": "fovea:drop", "ph": "I", "ts": 1}])
