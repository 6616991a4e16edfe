"""The page in Chromium: drops a picture on it, and reads from a trace when its grid was painted."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser")
MEASURE = "fovea:drop-to-grid"
"""The page's own measure: from the event of the drop to the frame after the grid was drawn."""
CATEGORIES = ("blink.user_timing",)
_DROP = """([text, name, type]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name, { type }));
  const drop = new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
  document.getElementById("intake").dispatchEvent(drop);
}"""

_PAINTED = """(name) => new Promise((resolve) => {
  const seen = (list) => list.getEntriesByName(name).length && resolve();
  new PerformanceObserver(seen).observe({ type: "measure", buffered: true });
})"""


def browser_path() -> str | None:
    """Chromium as the system has it; None without one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium. Raises FileNotFoundError without one."""
    from playwright.sync_api import sync_playwright

    path = browser_path()
    if path is None:
        raise FileNotFoundError("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        try:
            yield opened
        finally:
            opened.close()


def drop(page: Page, data: bytes, name: str, kind: str) -> None:
    """Drop a file on the page, as the browser reports it."""
    page.evaluate(_DROP, [base64.b64encode(data).decode("ascii"), name, kind])


def grid_ms(url: str, pictures: Sequence[bytes]) -> list[float]:
    """For each picture, a PNG, the milliseconds from its drop to its painted grid, on a page opened anew."""
    with browser() as opened:
        return [_traced(opened, url, picture) for picture in pictures]


def _traced(opened: Browser, url: str, picture: bytes) -> float:
    page = opened.new_page()
    try:
        page.goto(url, wait_until="networkidle")
        opened.start_tracing(page=page, categories=list(CATEGORIES))
        drop(page, picture, "picture.png", "image/png")
        wait_for_grid(page)
        return measured_ms(json.loads(opened.stop_tracing())["traceEvents"])
    finally:
        page.close()


def wait_for_grid(page: Page) -> None:
    """Until the page has measured a grid. The policy of the page forbids what Playwright polls with."""
    page.evaluate(_PAINTED, MEASURE)


def measured_ms(events: Sequence[dict[str, Any]]) -> float:
    """The length of the page's measure in the events of a trace. Raises ValueError if it is not there."""
    times = {event["ph"]: event["ts"] for event in events if event.get("name") == MEASURE}
    if not {"b", "e"} <= times.keys():
        raise ValueError(f"the trace lacks {MEASURE}")
    return float(times["e"] - times["b"]) / 1000
