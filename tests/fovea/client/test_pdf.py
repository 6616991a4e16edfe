"""Pages of a PDF: rendered at their planned size, deterministic, or a single clear error."""

from __future__ import annotations

import io
import socket

import pytest
from PIL import Image

from fovea.client import Budget, isolated
from fovea.client import pdf as client_pdf
from fovea.client.pdf import MAX_PAGES, PagesInvalid, PdfNotReadable, TooManyPages, is_pdf, pages, sizes
from fovea.geometry import Geometry
from fovea.nursery.limits import ChildLimits
from fovea.planning.limit import pixel_limit
from tests.fovea.client.papers import A4, pdf

THREE = pdf([A4, (842, 595), (300, 300)])


def opened(page: bytes) -> Image.Image:
    return Image.open(io.BytesIO(page))


@pytest.mark.parametrize(
    "budget",
    [Budget(), Budget(max_pixels=262_144), Budget(max_short_side=768), Budget(max_visual_tokens=500)],
)
def test_a_page_is_rendered_at_a_size_that_the_service_keeps(budget):
    for page in pages(THREE, budget=budget):
        size = opened(page).size
        planned = Geometry().plan(*size, pixel_limit(budget, *size))
        assert (planned.width, planned.height) == size
        assert planned.tokens <= (budget.max_visual_tokens or 1280)


def test_a_page_keeps_its_aspect_and_lies_on_white():
    """The square of a tenth of the width stays a square in the lower left."""
    page = opened(pages(THREE, "1")[0])
    left, top, right, bottom = page.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
    assert (left, bottom) == (0, 1344)
    assert right - left == pytest.approx(bottom - top, abs=1) == pytest.approx(95, abs=1)
    assert page.getpixel((959, 700)) == (255, 255, 255)


def test_the_same_page_is_the_same_bytes(tmp_path):
    path = tmp_path / "three.pdf"
    path.write_bytes(THREE)
    assert pages(path, "2-3") == pages(THREE)[1:] == pages(str(path), "2,3")
    assert sizes(THREE, "3") == [(3, (1250, 1250))]
    assert is_pdf(path)
    assert not is_pdf(pages(THREE, "1")[0])
    assert not is_pdf(tmp_path / "none.pdf")


@pytest.mark.parametrize("which", ["0", "4", "2-1", "1-9", "a", "1-", "1,,2", " "])
def test_pages_that_are_not_there_are_named(which):
    with pytest.raises(PagesInvalid) as caught:
        pages(THREE, which)
    assert caught.value.violations[0].field == "pages"


def test_too_many_pages_name_the_limit():
    with pytest.raises(TooManyPages) as caught:
        sizes(pdf([(72, 72)] * (MAX_PAGES + 1)))
    assert caught.value.metadata == {"limit": "64", "actual": "65"}
    assert len(pages(pdf([(72, 72)] * 3), "1-3", 65_536)) == 3


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pdf(encrypted=True), "password"),
        (b"%PDF-1.4 cut", "damaged"),
        (b"hello", "damaged"),
        (b"", "damaged"),
    ],
)
def test_unreadable_pdfs_raise_a_clear_error(data, why):
    with pytest.raises(PdfNotReadable, match=why):
        pages(data)


@pytest.mark.parametrize(
    ("words", "limits", "limit"),
    [
        ("LOOP", ChildLimits(0.2, 1 << 30), "0.2"),
        ("ALLOCATE", ChildLimits(600, 1 << 26), f"{1 << 26:g}"),
        ("11", ChildLimits(600, 1 << 30), f"{1 << 30:g}"),
        ("9", ChildLimits(600, 1 << 30), f"{1 << 30:g}"),
    ],
)
def test_a_pdf_that_ends_its_reader_raises_a_clear_error(words, limits, limit, monkeypatch):
    monkeypatch.setattr(client_pdf, "READER", "tests.fovea.client.faulty_reader")
    monkeypatch.setattr(isolated, "LIMITS", limits)
    with pytest.raises(isolated.FileTooCostly) as caught:
        pages(f"%PDF-1.4 {words}".encode())
    assert caught.value.reason == "FILE_NOT_READABLE"
    assert caught.value.metadata == {"path": "the PDF", "limit": limit}


def test_a_reader_ends_with_its_caller():
    """Its socket ends, whatever ends the caller."""
    with isolated.isolated(client_pdf.READER, "the PDF") as reader:
        reader.ask("open", THREE)
        reader._data.shutdown(socket.SHUT_RDWR)
        assert reader._process.wait(timeout=60) == 0
