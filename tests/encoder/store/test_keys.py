"""Different inputs have different keys, equal inputs have equal keys, in every process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_svc.store.keys import RowKey, UploadKey, pixel_digest, tenant_id, variant

# Few letters, so that concatenations without framing would collide.
names = st.text("ab1=,", max_size=4)
fields = st.dictionaries(names, names | st.integers(-12, 12), max_size=4)


def test_a_picture_and_its_transposed_size_differ() -> None:
    pixels = bytes(150 * 30 * 3)
    assert pixel_digest("RGB", 150, 30, pixels) != pixel_digest("RGB", 30, 150, pixels)


@given(st.sampled_from(["RGB", "RGBA", "L"]), st.integers(1, 6), st.integers(1, 6), st.binary(max_size=2))
def test_the_pixel_digest_covers_mode_size_and_pixels(
    mode: str, width: int, height: int, noise: bytes
) -> None:
    pixels = (noise + b"\1\2\3")[:3] * (width * height)
    digest = pixel_digest(mode, width, height, pixels)
    assert digest != pixel_digest(mode + "X", width, height, pixels)
    assert digest != pixel_digest(mode, width, height, bytes([pixels[0] ^ 1]) + pixels[1:])
    if width != height:
        assert digest != pixel_digest(mode, height, width, pixels)


@pytest.mark.parametrize(("width", "height", "count"), [(0, 5, 0), (2, 2, 11), (2, 2, 0), (-1, -1, 3)])
def test_pixels_that_do_not_fit_the_size_are_refused(width: int, height: int, count: int) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        pixel_digest("RGB", width, height, bytes(count))


@given(fields, fields)
def test_variants_are_equal_exactly_for_equal_fields(
    first: dict[str, str | int], second: dict[str, str | int]
) -> None:
    assert (variant(first) == variant(second)) == (first == second)


@given(fields)
def test_the_order_of_fields_does_not_matter(some: dict[str, str | int]) -> None:
    assert variant(dict(reversed(some.items()))) == variant(some)


@given(fields, names, names | st.integers(-12, 12))
def test_changing_any_field_changes_the_variant(
    some: dict[str, str | int], name: str, value: str | int
) -> None:
    if some.get(name) != value:
        assert variant({**some, name: value}) != variant(some)


def test_a_number_and_its_text_are_different_fields() -> None:
    assert variant({"side": 1}) != variant({"side": "1"})


@pytest.mark.parametrize("value", [True, 1.0, None, b"x"])
def test_a_field_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="side"):
        variant({"side": value})  # type: ignore[dict-item]


def test_pinned_vectors() -> None:
    """A change here makes every stored record unreachable: raise the schema version with it."""
    assert tenant_id("alice").hex() == "7c982cbec3b7cab8ee1b6fe49cda7335"
    assert (
        pixel_digest("RGB", 1, 2, b"abcdef").hex()
        == "0f3f2d8b4f4d4f106fdd8dff616661766f304e483ddbca23d73fadfc511e3665"
    )
    assert (
        variant({"model": "tiny", "revision": 3}).hex()
        == "7cd9d69a32df9cb12b903ac1520b69e1d12e8e463b41ee94be6faf745a56c43a"
    )


def test_keys_do_not_depend_on_the_hash_seed() -> None:
    seed = "4242" if os.environ.get("PYTHONHASHSEED") != "4242" else "0"
    code = (
        "from encoder_svc.store.keys import variant, tenant_id\n"
        "print((tenant_id('t') + variant({n: n for n in 'zyxabc'})).hex())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == (tenant_id("t") + variant({n: n for n in "abcxyz"})).hex()


def test_a_row_key_is_tenant_pixels_variant() -> None:
    key = RowKey(b"t" * 16, b"p" * 32, b"v" * 32)
    assert key.raw == b"t" * 16 + b"p" * 32 + b"v" * 32


@pytest.mark.parametrize("lengths", [(15, 32, 32), (16, 31, 32), (16, 32, 33), (0, 0, 0)])
def test_a_part_of_wrong_length_is_refused(lengths: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="bytes, must be"):
        RowKey(*(bytes(length) for length in lengths))


def test_an_upload_key_is_made_of_the_public_id() -> None:
    key = UploadKey.of(tenant_id("alice"), "sha256:" + "ab" * 32)
    assert key.image == b"\xab" * 32
    assert key.raw == tenant_id("alice") + b"\xab" * 32


@pytest.mark.parametrize("text", ["", "ab" * 32, "md5:" + "ab" * 32, "sha256:ab", "sha256:" + "zz" * 32])
def test_invalid_image_ids_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the last message is of bytes.fromhex
        UploadKey.of(tenant_id("alice"), text)
