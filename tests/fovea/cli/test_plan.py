"""`fovea plan` and `fovea show-tokens`: their requests and their output."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from fovea.cli.drawing import LEGEND_HEIGHT, Cells, draw, heat
from fovea.cli.pictures import as_shown
from fovea.cli.show_tokens import _select
from fovea.contract.plan import ALL_ROWS
from tests.fovea.client.papers import pdf


def test_a_plan_prints_tables_of_images_and_of_other_budgets(
    fovea, decoder, decoder_address, picture, tmp_path
):
    (tmp_path / "report.pdf").write_bytes(pdf())
    given = (picture, tmp_path / "report.pdf", "1600x1200")
    result = fovea("plan", *given, "--budget", "100", "--decoder", decoder_address)
    assert result.exit_code == 0, result.output
    head, first, second, third, *rest = result.stdout.splitlines()
    assert head.split() == ["image", "original", "seen", "as", "tokens", "rows", "what", "is", "done"]
    assert [line.split("  ")[0] for line in (first, second, third)] == [
        picture,
        f"{tmp_path}/report.pdf page 1",
        "1600x1200",
    ]
    assert "40 to 80  5.0 KiB  resize 90 to 80 (max_pixels)" in first
    assert "tokens   40 to 80 visual + 10 text; how many depends on pixels that were not looked at" in rest
    assert "prefill  2.0 GFLOP, 3 ms" in rest
    assert any("detail high" in line and "160" in line and "4.0 GFLOP, 6 ms" in line for line in rest)
    (request,) = decoder.requests
    assert request.visual.max_visual_tokens == 100
    assert request.messages[0].parts[2].image.size.width == 1600
    assert len(decoder.stored) == 2


def test_a_plan_for_machines_has_budgets_that_can_be_sent(fovea, decoder_address, picture):
    parsed = json.loads(fovea("plan", picture, "--json", "--decoder", decoder_address).stdout)
    (image,), (other,) = parsed["images"], parsed["alternatives"]
    assert (image["name"], image["tokens"], image["tokens_min"], image["row_bytes"]) == (
        picture,
        80,
        40,
        5120,
    )
    assert image["steps"][0]["name"] == "resize"
    assert (other["budget"]["detail"], other["budget"]["flat_tolerance"]) == ("high", 0)
    assert parsed["exact"] is False


@pytest.mark.parametrize(
    ("flags", "kept", "ordered"),
    [((), 64, False), (("--drop-flat",), 64, False), (("--keep", "0.5", "--reducer", "stride"), 32, True)],
)
def test_tokens_are_drawn_at_the_size_at_which_they_are_seen(
    fovea, encoder_address, picture, tmp_path, flags, kept, ordered
):
    out = tmp_path / "out.png"
    result = fovea("show-tokens", picture, "-o", out, *flags, "--encoder", encoder_address)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: {kept} of 80 tokens\n"
    with Image.open(out) as drawn:
        assert drawn.size == (640, 512 + LEGEND_HEIGHT)
        upper, lower = drawn.getpixel((600, 330)), drawn.getpixel((600, 490))
    assert (upper != lower) == ordered


def test_dropped_kept_and_ranked_tokens_are_drawn_differently():
    cells = Cells(4, 1, frozenset({1, 2}), (2, 1, 3))
    assert (cells.flat(), cells.cut()) == ([0], [3])
    assert list(heat(cells)) == [2, 1]
    drawn = draw(Image.new("RGB", (128, 32), "blue"), cells)
    flat, second, first, cut = (drawn.getpixel((at * 160 + 41, 37)) for at in range(4))
    assert flat not in (second, first, cut)
    assert first[1] < second[1], "from red by yellow"
    assert max(cut) - min(cut) < 60, "grey"
    assert heat(Cells(4, 1, frozenset({1, 2}), ())) == {}


def test_a_share_of_zero_is_not_a_missing_option():
    assert _select(None, False, "scope") == ALL_ROWS
    assert _select(0.0, False, "scope").keep == 0.0


def test_grey_of_16_bits_is_drawn_as_grey(tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((8, 8), 0x8000, np.uint16)).save(path)
    assert as_shown(path, "grey.png").getpixel((4, 4)) == pytest.approx((128, 128, 128), abs=1)
