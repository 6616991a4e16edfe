"""A stream of questions about report pages: generated pictures on pages of a PDF, rendered at 1600x1200.

Half of the requests are about a page of an earlier request. Every eighth request is about one of a few logos.
Pages are written to PDF without loss and rendered by pypdfium2, as a caller's back end would do. Independent
of services.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import pypdfium2 as pdfium
from PIL import Image

from bench.evaluation.sheets import png
from standin.dataset import draw_picture
from standin.questions import Asked, questions_about

WIDTH, HEIGHT = 1600, 1200
PAGE = 320, 240
"""Points of the PDF page, and pixels of the drawn picture."""
LOGO = 160, 160
LOGOS = 2
SEEN = 0.5
EVERY_LOGO = 8
CARD = 4
"""The index of the drawer of logos among all drawers."""


@dataclass(frozen=True)
class Page:
    """A picture, and the questions about it; logos have negative numbers."""

    number: int
    file: bytes
    questions: list[Asked]


@dataclass(frozen=True)
class Request:
    """A question about a file. Requests about the same file have the same `page`."""

    page: int
    file: bytes
    asked: Asked


def stream(count: int, seed: int) -> list[Request]:
    """`count` requests in the order of their arrival."""
    rng = random.Random(f"report/{seed}")
    logos, seen, requests = (
        [_logo(rng, seed, number) for number in range(LOGOS)],
        list[Page](),
        list[Request](),
    )
    for at in range(count):
        if at % EVERY_LOGO == EVERY_LOGO - 1:
            page = rng.choice(logos)
        elif seen and rng.random() < SEEN:
            page = rng.choice(seen)
        else:
            page = _page(rng, seed, len(seen))
            seen.append(page)
        requests.append(Request(page.number, page.file, rng.choice(page.questions)))
    return requests


def _page(rng: random.Random, seed: int, number: int) -> Page:
    picture = draw_picture("report", (seed << 32) + number, PAGE)
    return Page(number, png(render_pdf(write_pdf(picture.canvas.image))), questions_about(picture, rng))


def _logo(rng: random.Random, seed: int, place: int) -> Page:
    picture = draw_picture("report", (seed << 32) - 1 - place, LOGO, CARD)
    return Page(-1 - place, png(picture.canvas.image), questions_about(picture, rng))


def write_pdf(image: Image.Image) -> bytes:
    """A PDF of a single page that shows a picture without loss, a pixel a point."""
    document = pdfium.PdfDocument.new()
    shown = pdfium.PdfImage.new(document)
    shown.set_bitmap(pdfium.PdfBitmap.from_pil(image))
    shown.set_matrix(pdfium.PdfMatrix().scale(*image.size))
    page = document.new_page(*image.size)
    page.insert_obj(shown)
    page.gen_content()
    out = io.BytesIO()
    document.save(out)
    document.close()
    return out.getvalue()


def render_pdf(file: bytes) -> Image.Image:
    """The page of a PDF at the size of a back end that does not consider tokens."""
    document = pdfium.PdfDocument(file)
    page = document[0]
    image: Image.Image = page.render(scale=WIDTH / page.get_width()).to_pil().convert("RGB")
    document.close()
    return image
