"""A tab with the page: what a person does with it, and what they see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect

from bench.parts import page_trace
from tests.page.site import Site

ANSWER_MS = 60_000
_LINES = """(selector) => {
  const canvas = document.querySelector(selector);
  const context = canvas.getContext("2d");
  const middle = (side, cells) => Math.floor((0.5 * side) / cells);
  const across = context.getImageData(0, middle(canvas.height, canvas.dataset.rows), canvas.width, 1).data;
  const down = context.getImageData(middle(canvas.width, canvas.dataset.columns), 0, 1, canvas.height).data;
  const edges = (data) => {
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
      const dark = data[at + 3] > 0 && data[at] < 128;
      const before = at > 0 && data[at - 1] > 0 && data[at - 4] < 128;
      if (dark && !before) count += 1;
    }
    return count;
  };
  return [edges(across), edges(down)];
}"""


class Tab:
    """A page of the browser. `complaints` are errors in its console, `strangers` requests to other addresses."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.expected: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.site.url, "blob:")):
            self.strangers.append(request.url)

    def open(self, view: str = "") -> None:
        self.page.goto(self.site.url + view)
        expect(self.page.locator("#server")).not_to_be_empty(timeout=ANSWER_MS)

    def drop(self, data: bytes, name: str = "picture.png", kind: str = "image/png") -> None:
        """Drop a file, and wait until every plan of it is there."""
        page_trace.drop(self.page, data, name, kind)
        self.wait_for_plans()

    def wait_for_plans(self, views: int = 1) -> None:
        """The exact plans are there once the server holds the picture."""
        for at in range(views):
            expect(self.view(at)).to_have_attribute("data-state", "stored", timeout=ANSWER_MS)

    def view(self, at: int = 0) -> Locator:
        return self.page.locator(".view").nth(at)

    def answer(self, at: int = 0) -> Locator:
        return self.page.locator(".answer").nth(at)

    def slide(self, to: int, at: int = 0) -> None:
        self.view(at).locator(".detail").fill(str(to))

    def stops(self, at: int = 0) -> int:
        return int(self.view(at).locator(".detail").get_attribute("max") or 0) + 1

    def grid(self, at: int = 0) -> tuple[int, int, int]:
        """Columns, rows, and cells that are not hatched, as the page says."""
        data = self.view(at).locator("canvas.grid")
        columns, rows, painted = (
            data.get_attribute(f"data-{name}") for name in ("columns", "rows", "painted")
        )
        return int(columns or 0), int(rows or 0), int(painted or 0)

    def lines(self) -> tuple[int, int]:
        """Cells across and down, counted from the dark lines of the grid between them in its pixels."""
        self.expected.append("Multiple readback operations")
        across, down = self.page.evaluate(_LINES, "canvas.grid")
        return across + 1, down + 1

    def tokens(self, at: int = 0) -> int:
        """The visual tokens that the page shows."""
        text = self.view(at).locator("dd.tokens").inner_text().splitlines()[0]
        return int(text.replace(",", ""))

    def ask(self, question: str, answers: int = 1) -> None:
        """Ask, and wait for every receipt."""
        self.page.get_by_label("Question", exact=True).fill(question)
        self.page.get_by_role("button", name="Ask", exact=True).click()
        for at in range(answers):
            expect(self.answer(at).locator(".receipt")).to_be_visible(timeout=ANSWER_MS)

    def text(self, at: int = 0) -> str:
        return self.answer(at).locator(".text").inner_text()

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        wider: Any = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return int(wider)

    def shoot(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot with few colours, so that the file stays small."""
        from PIL import Image

        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        with Image.open(path) as shot:
            small = shot.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
