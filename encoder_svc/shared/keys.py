"""Keys of the second level: a hash for each image, whose fields are its records.

A record is two fields, its header and its payload, so both are read, written and deleted at once. All records
of an image have one key: they lie on one node of a cluster, are evicted together, and one command deletes
them. Digests are in hex, so a tenant is a prefix without characters that patterns know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from encoder_svc.store.keys import DIGEST_BYTES, TENANT_BYTES

Kind = Literal["rows", "facts", "deleted"]
_PREFIX = b"fovea:1"
"""Its number is raised if keys or fields change; the format of records has a version of its own."""
_IMAGE_BYTES = TENANT_BYTES + DIGEST_BYTES
_KEY = re.compile(
    rb"%s:(rows|facts|deleted):([0-9a-f]{%d}):([0-9a-f]{%d})" % (_PREFIX, 2 * TENANT_BYTES, 2 * DIGEST_BYTES)
)


@dataclass(frozen=True)
class RecordAddress:
    """The key of an image, and the fields of one of its records."""

    key: bytes
    head: bytes
    data: bytes


def address(kind: Kind, raw: bytes) -> RecordAddress:
    """The address of a record by its raw key, which begins with tenant and digest. ValueError for less."""
    record = raw[_IMAGE_BYTES:]
    return RecordAddress(image_key(kind, raw[:_IMAGE_BYTES]), b"h" + record, b"d" + record)


def raw_key(found: RecordAddress) -> tuple[Kind, bytes]:
    """The kind and the raw key of a record: the inverse of `address`. ValueError for another key."""
    kind, image = image_of(found.key)
    return kind, image + found.head[1:]


def image_key(kind: Kind, image: bytes) -> bytes:
    """The key of an image: `image` is the id of a tenant and a digest, of its pixels or of its file."""
    if len(image) != _IMAGE_BYTES:
        raise ValueError(f"an image is {_IMAGE_BYTES} bytes, not {len(image)}")
    tenant, digest = image[:TENANT_BYTES].hex(), image[TENANT_BYTES:].hex()
    return b":".join((_PREFIX, kind.encode(), tenant.encode(), digest.encode()))


def image_of(key: bytes) -> tuple[Kind, bytes]:
    """The inverse of `image_key`. ValueError for a key that it does not make."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError("no key of an image")
    return cast(Kind, match[1].decode()), bytes.fromhex((match[2] + match[3]).decode())


def tenant_pattern(kind: Kind, tenant: bytes) -> bytes:
    """The pattern of all keys of a tenant. ValueError for a short id, which would match other tenants."""
    if len(tenant) != TENANT_BYTES:
        raise ValueError(f"a tenant is {TENANT_BYTES} bytes, not {len(tenant)}")
    return b":".join((_PREFIX, kind.encode(), tenant.hex().encode(), b"*"))
