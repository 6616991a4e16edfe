"""`fovea count`: arithmetic, sizes of files, and what is refused."""

from __future__ import annotations

import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from fovea.cli.model import PUBLISHED
from standin import model_dir
from tests.fovea.client.fakes import LAYOUT, png
from tests.fovea.client.papers import A4, pdf

STANDIN = model_dir()
NATIVE = ("--max-pixels", "16777216")
TABLE = [
    # size, flags, tokens, patches
    ("1024x1024", (), "1,024", "4,096"),
    ("768x768", (), "576", "2,304"),
    ("1600x1200", NATIVE, "1,900", "7,600"),
    ("4032x3024", (), "1,230", "4,920"),  # a phone photo, shrunk to fit
    ("2480x3508", NATIVE, "8,580", "34,320"),  # A4 at 300 dpi
]


def counted(fovea, *argv) -> dict:
    result = fovea("count", *argv, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(("size", "flags", "tokens", "patches"), TABLE)
def test_the_cost_of_a_size_is_what_the_model_reads(fovea, size, flags, tokens, patches):
    result = fovea("count", size, *flags)
    assert result.exit_code == 0
    assert f"{size}: {tokens} tokens ({patches} patches)" in result.stdout
    assert "Patches are not tokens" in result.stdout


def test_bytes_are_those_of_the_30b_model(fovea):
    fields = counted(fovea, "1024x1024")
    assert fields["row_bytes"] == 1024 * 16 * 1024
    assert fields["kv_bytes"] == 1024 * 96 * 1024
    assert PUBLISHED.row_bytes == 16 * 1024


def test_an_a4_page_at_300_dpi_does_not_fit_the_context(fovea):
    assert counted(fovea, "2480x3508", *NATIVE)["fits_context"] is False
    assert counted(fovea, "2480x3508")["fits_context"] is True


def test_a_file_costs_what_its_size_costs(fovea, tmp_path):
    path = png(tmp_path / "page.png", 640, 333)
    assert counted(fovea, path) == counted(fovea, "640x333")


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_a_rotated_file_is_counted_upright(fovea, tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"sideways.{suffix}"
    Image.new("RGB", (400, 300)).save(path, exif=exif)
    fields = counted(fovea, path)
    assert (fields["width"], fields["height"]) == (300, 400)


def test_the_first_frame_of_a_gif_is_counted(fovea, tmp_path):
    path = tmp_path / "two.gif"
    Image.new("P", (200, 100)).save(path, save_all=True, append_images=[Image.new("P", (200, 100), 1)])
    assert counted(fovea, path)["width"] == 200


def test_the_pages_of_a_pdf_are_counted_and_none_is_drawn(fovea, tmp_path):
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf([A4, (300, 300)]))
    assert counted(fovea, path)["tokens"] == 1260 + 1225
    assert [page["page"] for page in counted(fovea, path, "--pages", "2")["pages"]] == [2]
    assert "page 1: 1,260 tokens" in fovea("count", path).stdout
    assert "1-9" in fovea("count", path, "--pages", "1-9").stderr


REFUSED = {
    "no such file": ("nothing.png", "INVALID_ARGUMENT", "neither a file nor a size"),
    "half a size": ("1024x", "INVALID_ARGUMENT", "neither a file nor a size"),
    "no size": ("0x7", "INVALID_ARGUMENT", "at least 1"),
    "too narrow": ("1x201", "IMAGE_ASPECT_TOO_EXTREME", "200 times"),
    "text": ("text.png", "IMAGE_FORMAT_NOT_SUPPORTED", "not an image of a supported format"),
    "empty": ("empty.png", "IMAGE_EMPTY", "no bytes"),
    "other format": ("picture.bmp", "IMAGE_FORMAT_NOT_SUPPORTED", "not an image of a supported format"),
    "bomb": ("bomb.png", "IMAGE_TOO_MANY_PIXELS", "at most"),
    "cut off": ("cut.png", "IMAGE_CORRUPT", "damaged or cut off"),
    "without an end": ("/dev/zero", "IMAGE_TOO_LARGE", "more than"),
    "URL": ("https://example.com/cat.png", "INVALID_ARGUMENT", "URL"),
    "data URL": ("data:image/png;base64,iVBORw0KGgo=", "INVALID_ARGUMENT", "base64"),
    "id": ("sha256:" + "0" * 64, "INVALID_ARGUMENT", "id of a stored image"),
    "name of other bytes": (os.fsdecode(b"\xff.png"), "INVALID_ARGUMENT", "neither a file nor a size"),
    "nothing": ("", "INVALID_ARGUMENT", "no path"),
    "unreadable": ("/proc/self/mem", "FILE_NOT_READABLE", "cannot read /proc/self/mem"),
    "no PDF": ("no.pdf", "FILE_NOT_READABLE", "cannot read no.pdf"),
    "thin page": ("thin.pdf", "IMAGE_ASPECT_TOO_EXTREME", "thin.pdf page 1"),
    "folder": ("folder", "FILE_NOT_READABLE", "cannot read"),
}


@pytest.fixture
def bad_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (10, 10)).save("picture.bmp")
    data = bytearray(Path(png("small.png")).read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    (tmp_path / "cut.png").write_bytes(data[:20])
    (tmp_path / "no.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (tmp_path / "thin.pdf").write_bytes(pdf([(10, 14_000)]))


@pytest.mark.parametrize("name", REFUSED)
def test_uncountable_arguments_print_a_one_line_error(fovea, bad_files, name):
    argument, reason, words = REFUSED[name]
    result = fovea("count", argument)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    result = fovea("count", argument, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["reason"] == reason


def test_a_limit_of_no_pixels_is_a_usage_error(fovea):
    assert fovea("count", "10x10", "--max-pixels", "0").exit_code == 2


def test_a_count_names_its_model(fovea, decoder_address, tmp_path):
    """The model's minimum pixels decide the cost of a small image."""
    path = png(tmp_path / "small.png", 256, 192)
    published = fovea("count", path).stdout
    assert "256x192: 70 tokens" in published
    assert "Qwen3-VL-30B-A3B as published" in published
    assert "--model DIR or --decoder" in published
    assert "48 tokens" in fovea("count", path, "--model", STANDIN).stdout
    fields = counted(fovea, path, "--model", STANDIN)
    assert (fields["tokens"], fields["row_bytes"], fields["kv_bytes"]) == (48, 48 * 1024, 48 * 1024)
    assert fields["model"] == f"{STANDIN}, bf16"
    count = counted(fovea, path, "--decoder", decoder_address)
    assert (count["tokens"], count["row_bytes"]) == (48, 48 * LAYOUT.row_bytes)
    assert count["model"] == f"fake on {decoder_address}"


@pytest.mark.parametrize("config", [None, "{}", '{"text_config": 5, "vision_config": []}', "[]", "\x00"])
def test_a_folder_without_a_model_prints_a_clear_error(fovea, tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    result = fovea("count", "10x10", "--model", tmp_path)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert "CHECKPOINT_NOT_SUPPORTED" in result.stderr


@pytest.mark.parametrize("crop", [(1000, 1000, 1200, 1200), (612, 0, 700, 792)])
def test_a_page_whose_crop_box_leaves_nothing_of_it_counts_as_a_whole(fovea, tmp_path, crop):
    (tmp_path / "cropped.pdf").write_bytes(pdf([(612, 792)], crop=crop))
    (tmp_path / "whole.pdf").write_bytes(pdf([(612, 792)]))
    cropped, whole = (counted(fovea, tmp_path / name) for name in ("cropped.pdf", "whole.pdf"))
    assert cropped == whole


def test_images_from_a_pipe_are_counted(fovea, tmp_path):
    data = Path(png(tmp_path / "page.png", 640, 333)).read_bytes()
    result = fovea("count", "-", "--json", input=data)
    assert json.loads(result.stdout)["width"] == 640
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        writing = pool.submit((tmp_path / "pipe").write_bytes, data)
        assert counted(fovea, tmp_path / "pipe")["width"] == 640
        writing.result()
