"""The real readers, on text drawn with real fonts."""

from __future__ import annotations

from contextlib import closing

import pytest

from bench.parts.ocr import distance
from bench.parts.screens import draw_screens
from encoder_svc.images.limits import ImageLimits
from encoder_svc.reading.reader import ReaderLimits, TextReader
from encoder_svc.reading.tesseract import lines_of
from encoder_svc.store.keys import UploadKey, tenant_id
from fovea.contract.errors import TextTooCostly
from fovea.contract.rows import digest
from fovea.contract.text import ImageText
from fovea.nursery.limits import ChildLimits
from tests.encoder.images.files import encoded, picture
from tests.encoder.reading.installed import require_reader

CHILD = ChildLimits(cpu_s=120, memory_bytes=2 << 30)


async def read(reader: TextReader, data: bytes) -> ImageText:
    return await reader.read(UploadKey.of(tenant_id("default"), digest(data)), data)


@pytest.mark.long
@pytest.mark.parametrize("name", ["rapidocr", "tesseract"])
async def test_a_reader_reads_what_is_drawn(name: str) -> None:
    """Loads the models and forks: what works in the parent must work in its children."""
    identity = require_reader(name)
    screens = [screen for screen in draw_screens(24, seed=1) if screen.height >= 18][:4]
    with closing(TextReader(identity, ImageLimits(), ReaderLimits(), CHILD)) as reader:
        for screen in screens:
            text = await read(reader, screen.data)
            drawn, found = " ".join(screen.text.split()), " ".join(str(text).split())
            assert distance(drawn, found) < 0.05 * len(drawn), found
            assert text.confidence > 0.3
            assert text.cpu_ms > 0
            assert all(0 < line.top < line.bottom for line in text.lines)
        assert (text.reader, text.version) == (name, identity.version)


@pytest.mark.parametrize("name", ["rapidocr", "tesseract"])
async def test_an_image_without_text_has_no_lines(name: str) -> None:
    identity = require_reader(name)
    with closing(TextReader(identity, ImageLimits(), ReaderLimits(), CHILD)) as reader:
        assert (await read(reader, encoded(picture(320, 200)))).lines == ()


TABLE = """level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext
1\t1\t0\t0\t0\t0\t0\t0\t200\t100\t-1\t
4\t1\t1\t1\t1\t0\t10\t10\t90\t12\t-1\t
5\t1\t1\t1\t1\t1\t10\t10\t40\t12\t96.5\tTotal
5\t1\t1\t1\t1\t2\t60\t11\t40\t13\t88\t"12"
5\t1\t1\t1\t2\t1\t10\t30\t40\t12\t50\tVAT
5\t1\t1\t1\t3\t1\t10\t50\t40\t12\t95\t
"""


def test_words_of_tesseract_become_lines() -> None:
    first, second = lines_of(TABLE)
    assert (first.text, first.left, first.top, first.right, first.bottom) == ('Total "12"', 10, 10, 100, 24)
    assert first.confidence == pytest.approx(0.88)
    assert (second.text, second.confidence) == ("VAT", 0.5)


async def test_the_command_dies_with_its_worker_and_by_its_limits() -> None:
    """Tesseract is a process of its own; a worker that was killed must not leave it behind."""
    identity = require_reader("tesseract")
    page = encoded(picture(4000, 4000))
    reader = TextReader(identity, ImageLimits(), ReaderLimits(), ChildLimits(120, 1 << 26))
    with closing(reader), pytest.raises(TextTooCostly):
        await read(reader, page)
