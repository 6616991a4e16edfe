"""Reads an untrusted PDF in a process of its own, which may be killed. Plans nothing.

Runs as `python -m fovea.pdf_reader FD LIMITS` and serves one caller: `open` with the bytes of a file answers
the number of pages, `size` a page's size in points, `draw` a page as a PNG. Needs pypdfium2, the extra `pdf`.
"""

from __future__ import annotations

import io
import math
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pypdfium2
from PIL import Image

from fovea.nursery import frames
from fovea.nursery.alone import run_alone
from fovea.nursery.limits import ChildLimits

Reply = tuple[Mapping[str, Any], bytes]


class Reader:
    """An open document."""

    def __init__(self, data: bytes) -> None:
        self._document = pypdfium2.PdfDocument(data)
        self._document.init_forms()  # render filled-in form fields too

    @property
    def pages(self) -> int:
        return len(self._document)

    def size(self, number: int) -> tuple[float, float]:
        """(width, height) in points; a side is 0 if the boxes of the page leave no area."""
        width, height = self._page(number).get_size()
        return width, height

    def draw(self, number: int, width: int, height: int) -> bytes:
        """The page as a PNG of this size on white, with its aspect kept."""
        canvas = Image.new("RGB", (width, height), "white")
        canvas.paste(_picture(self._page(number), width, height))
        out = io.BytesIO()
        canvas.save(out, "PNG")
        return out.getvalue()

    def _page(self, number: int) -> Any:
        """A crop box outside of the media box leaves no area; the whole page is shown then, as in viewers."""
        page = self._document[number - 1]
        if not all(page.get_size()):
            page.set_cropbox(*page.get_mediabox())
            page.close()
            page = self._document[number - 1]
        return page


def _picture(page: Any, width: int, height: int) -> Image.Image:
    """Render the page to fit, at a hair less than the exact scale: PDFium rounds sides up."""
    page_width, page_height = page.get_size()
    scale = min(width / page_width, height / page_height)
    drawn: Image.Image = page.render(scale=math.nextafter(scale, 0), rev_byteorder=True).to_pil()
    return drawn.convert("RGB")


def serve(caller: socket.socket, limits: ChildLimits) -> None:
    reader: Reader | None = None

    def opened(data: bytes) -> Reply:
        nonlocal reader
        reader = Reader(data)
        return {"pages": reader.pages}, b""

    def size(number: int) -> Reply:
        width, height = reader.size(number) if reader else (0, 0)
        return {"width": width, "height": height}, b""

    def draw(number: int, width: int, height: int) -> Reply:
        return {}, reader.draw(number, width, height) if reader else b""

    tasks: dict[str, Callable[..., Reply]] = {"size": size, "draw": draw}
    with caller.makefile("rb") as incoming:
        while request := frames.read(incoming):
            limits.restart_timer()
            header, body = request
            task, arguments = header["task"], header.get("arguments", {})
            try:
                reply, raw = opened(body) if task == "open" else tasks[task](**arguments)
            except pypdfium2.PdfiumError as failed:
                reply, raw = {"failed": getattr(failed, "err_code", None)}, b""
            caller.sendall(frames.packed(reply, len(raw)) + raw)


if __name__ == "__main__":
    run_alone(serve, *sys.argv[1:])
