"""Pictures to drop."""

from __future__ import annotations

import io
from itertools import count

import pypdfium2
from PIL import Image

from bench.parts.screens import HEIGHTS, draw_dense, draw_screens
from fovea.cli.samples import load

LIGHT = 240
CHART_QUESTION, CHART_ANSWER = "Which bar is the tallest?", "yellow"


def chart(factor: int = 4) -> bytes:
    """The chart of the samples, enlarged: 1024 x 768, which the stand-in reads at the size of the sample."""
    sample = Image.open(load()[0].path).convert("RGB")
    return _png(sample.resize((sample.width * factor, sample.height * factor), Image.Resampling.LANCZOS))


def letter() -> bytes:
    """A light screen with text of 24 pixels, readable at some stops of the slider and not at others."""
    drawn = (draw_screens(len(HEIGHTS), seed)[-1].data for seed in count())
    return next(data for data in drawn if Image.open(io.BytesIO(data)).convert("L").getpixel((0, 0)) > LIGHT)


def pdf(pages: int = 2) -> bytes:
    """A PDF with a letter on each page."""
    document = pypdfium2.PdfDocument.new()
    for at in range(pages):
        picture = Image.open(io.BytesIO(draw_dense(pages, seed=9)[at].data)).convert("RGB")
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=85)
        image = pypdfium2.PdfImage.new(document)
        image.load_jpeg(jpeg, inline=True)
        width, height = image.get_px_size()
        image.set_matrix(pypdfium2.PdfMatrix().scale(width / 2, height / 2))
        page = document.new_page(width / 2, height / 2)
        page.insert_obj(image)
        page.gen_content()
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
