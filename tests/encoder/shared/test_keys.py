"""Keys of the second level: each record has one, and tenants have prefixes of their own."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_svc.shared.keys import Kind, RecordAddress, address, image_key, image_of, raw_key, tenant_pattern
from encoder_svc.store.keys import DIGEST_BYTES, TENANT_BYTES

TENANTS = st.binary(min_size=TENANT_BYTES, max_size=TENANT_BYTES)
IMAGES = st.binary(min_size=TENANT_BYTES + DIGEST_BYTES, max_size=TENANT_BYTES + DIGEST_BYTES)
KINDS = st.sampled_from(("rows", "facts", "deleted"))


@given(KINDS, IMAGES, st.binary(max_size=80))
def test_a_record_is_found_again_by_its_address(kind: Kind, image: bytes, record: bytes) -> None:
    assert raw_key(address(kind, image + record)) == (kind, image + record)


@given(KINDS, IMAGES, KINDS, IMAGES, st.binary(max_size=40), st.binary(max_size=40))
def test_two_records_never_share_an_address(
    kind: Kind, image: bytes, other_kind: Kind, other: bytes, record: bytes, other_record: bytes
) -> None:
    first, second = address(kind, image + record), address(other_kind, other + other_record)
    assert (first == second) == ((kind, image + record) == (other_kind, other + other_record))
    assert first.head != first.data


@given(KINDS, IMAGES, TENANTS)
def test_a_pattern_matches_the_keys_of_its_tenant_only(kind: Kind, image: bytes, tenant: bytes) -> None:
    key = image_key(kind, image)
    for owner in (tenant, image[:TENANT_BYTES]):
        matches = fnmatch.fnmatchcase(key.decode(), tenant_pattern(kind, owner).decode())
        assert matches == (owner == image[:TENANT_BYTES])
    other: Kind = "facts" if kind == "rows" else "rows"
    assert not fnmatch.fnmatchcase(key.decode(), tenant_pattern(other, image[:TENANT_BYTES]).decode())


@given(st.binary(max_size=200))
def test_other_keys_are_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="no key of an image"):
        image_of(key)


@pytest.mark.parametrize("length", [0, TENANT_BYTES - 1, TENANT_BYTES + 1])
def test_part_of_a_tenant_is_no_pattern(length: int) -> None:
    """It would match the keys of others."""
    with pytest.raises(ValueError, match="a tenant is 16 bytes"):
        tenant_pattern("rows", b"t" * length)


def test_the_layout_of_keys_is_pinned() -> None:
    """Encoders of two versions share one server."""
    raw = b"\x01" * TENANT_BYTES + b"\xab" * DIGEST_BYTES + b"v"
    key = b"fovea:1:rows:" + b"01" * TENANT_BYTES + b":" + b"ab" * DIGEST_BYTES
    assert address("rows", raw) == RecordAddress(key, b"hv", b"dv")
