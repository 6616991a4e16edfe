"""Keys of records: tenant, pixels and variant of rows; tenant and byte digest of an upload.

Every digest is SHA-256 over length-prefixed fields (in a variant also with names and types), so different
inputs never hash the same bytes. The meaning of fields is opaque here, and no key is a URL, a file name or a
perceptual hash. The key layout is part of the schema on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

TENANT_BYTES = 16
DIGEST_BYTES = 32

Fields: TypeAlias = Mapping[str, str | int]


@dataclass(frozen=True)
class RowKey:
    """Rows of an image under a plan: `tenant | pixels | variant`, enumerable by prefix."""

    tenant: bytes
    pixels: bytes
    variant: bytes

    def __post_init__(self) -> None:
        _check_length("tenant", self.tenant, TENANT_BYTES)
        _check_length("pixels", self.pixels, DIGEST_BYTES)
        _check_length("variant", self.variant, DIGEST_BYTES)

    @property
    def raw(self) -> bytes:
        return self.tenant + self.pixels + self.variant


@dataclass(frozen=True)
class UploadKey:
    """The bytes of an uploaded image: `tenant | SHA-256 of the bytes`."""

    tenant: bytes
    image: bytes

    def __post_init__(self) -> None:
        _check_length("tenant", self.tenant, TENANT_BYTES)
        _check_length("image", self.image, DIGEST_BYTES)

    @property
    def raw(self) -> bytes:
        return self.tenant + self.image

    @classmethod
    def of(cls, tenant: bytes, image_id: str) -> UploadKey:
        """The key of a public id. ValueError unless it is `sha256:` and 64 hex digits."""
        scheme, _, digits = image_id.partition(":")
        if scheme != "sha256" or len(digits) != 2 * DIGEST_BYTES:
            raise ValueError("an image id is sha256: and 64 hex digits")
        return cls(tenant, bytes.fromhex(digits))


def sidecar(key: RowKey, name: str) -> bytes:
    """The raw key of a named sidecar of rows. It begins with the key of the rows."""
    if not name:
        raise ValueError("a sidecar has a name")
    return key.raw + name.encode()


def upload_sidecar(key: UploadKey, name: str, fields: Fields) -> bytes:
    """The raw key of a named sidecar of an upload. It begins with the key of the upload, and is longer than a
    key of rows.
    """
    if not name:
        raise ValueError("a sidecar has a name")
    return key.raw + name.encode() + variant(fields)


def is_sidecar(raw: bytes) -> bool:
    """Whether the key is of a sidecar, of rows or of an upload. It is longer than any key of a record."""
    return len(raw) > TENANT_BYTES + 2 * DIGEST_BYTES


def tenant_id(name: str) -> bytes:
    """16 bytes derived from an authenticated tenant's name."""
    return _digest(b"fovea.tenant.1", name.encode())[:TENANT_BYTES]


def pool_id() -> bytes:
    """The 16 bytes in place of a tenant's where tenants share their rows. No name has them as its id."""
    return _digest(b"fovea.pool.1")[:TENANT_BYTES]


def pixel_digest(mode: str, width: int, height: int, pixels: bytes | memoryview) -> bytes:
    """SHA-256 over mode, size and canonical pixels (raster order, whole bytes per pixel).

    ValueError if the bytes do not divide evenly over the pixels.
    """
    count = memoryview(pixels).nbytes
    if width <= 0 or height <= 0 or count == 0 or count % (width * height):
        raise ValueError(f"{count} bytes cannot be {width}x{height} pixels")
    size = width.to_bytes(4, "big"), height.to_bytes(4, "big")
    return _digest(b"fovea.pixels.1", mode.encode(), *size, pixels)


def variant(fields: Fields) -> bytes:
    """SHA-256 over the sorted fields, each length-prefixed and tagged with its type: 1 and "1" differ."""
    parts: list[bytes] = []
    for name in sorted(fields):
        parts += [name.encode(), *_tagged(name, fields[name])]
    return _digest(b"fovea.variant.1", *parts)


def _tagged(name: str, value: str | int) -> tuple[bytes, bytes]:
    # bool is an int in Python but not in JSON, so the echo of a record would not match.
    if isinstance(value, str):
        return b"s", value.encode()
    if isinstance(value, int) and not isinstance(value, bool):
        return b"i", str(value).encode()
    raise TypeError(f"field {name!r} must be str or int, not {type(value).__name__}")


def _digest(domain: bytes, *parts: bytes | memoryview) -> bytes:
    sha = hashlib.sha256()
    for part in (domain, *parts):
        sha.update(memoryview(part).nbytes.to_bytes(8, "big"))
        sha.update(part)
    return sha.digest()


def _check_length(name: str, value: bytes, expected: int) -> None:
    if len(value) != expected:
        raise ValueError(f"{name} is {len(value)} bytes, must be {expected}")
