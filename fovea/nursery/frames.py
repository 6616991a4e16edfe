"""The messages between a caller and a child: two lengths, a JSON object, and raw bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any, TypeAlias

PREFIX = struct.Struct("!IQ")
"""Bytes of the JSON object, and of the raw bytes."""
MAX_HEADER_BYTES = 64 * 1024

Header: TypeAlias = Mapping[str, Any]


class FrameInvalid(Exception):
    """A child sent something else than its caller expects."""


def packed(header: Header, body_bytes: int = 0) -> bytes:
    """All of a message but its raw bytes."""
    text = json.dumps(header).encode()
    return PREFIX.pack(len(text), body_bytes) + text


def lengths(prefix: bytes | bytearray) -> tuple[int, int]:
    """Raises FrameInvalid if the header is too long."""
    header_bytes, body_bytes = PREFIX.unpack(prefix)
    if header_bytes > MAX_HEADER_BYTES:
        raise FrameInvalid(f"a header of {header_bytes} bytes")
    return header_bytes, body_bytes


def parsed(header: bytes | bytearray) -> Header:
    """Raises FrameInvalid."""
    try:
        value = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise FrameInvalid("a header that is no JSON") from error
    if not isinstance(value, dict):
        raise FrameInvalid("a header that is no object")
    return value


def read(stream: IO[bytes], max_body_bytes: int | None = None) -> tuple[Header, bytes] | None:
    """The next message of a blocking stream; None at its end, even in the middle of a message.

    Raises FrameInvalid for more raw bytes than allowed.
    """
    prefix = stream.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    header_bytes, body_bytes = lengths(prefix)
    if max_body_bytes is not None and body_bytes > max_body_bytes:
        raise FrameInvalid(f"{body_bytes} raw bytes")
    header, body = stream.read(header_bytes), stream.read(body_bytes)
    if len(header) < header_bytes or len(body) < body_bytes:
        return None
    return parsed(header), body
