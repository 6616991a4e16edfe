"""A client that speaks HTTP/2 by hand, so that it can stop in the middle of anything."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_HEADERS = 4
STREAM = 1
ANSWER_S = 20.0


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str, address: str) -> bytes:
    """The headers of a gRPC call: literals without Huffman coding or indexing."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": address,
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    return frame(HEADERS, block, END_HEADERS, STREAM)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def half_message(path: str, address: str) -> bytes:
    """A call whose message promises a thousand bytes and sends three."""
    message = struct.pack(">BI", 0, 1000) + b"\x0a\x01a"
    return PREFACE + frame(SETTINGS) + headers(path, address) + frame(DATA, message, 0, STREAM)


BEGINNINGS = (b"", PREFACE[:10], PREFACE, PREFACE + frame(SETTINGS), PREFACE + frame(SETTINGS)[:5])
"""Where a connection may stop before any call."""


def connected(address: str, sent: bytes = b"") -> socket.socket | None:
    """An open connection that has sent these bytes; None if the server refused it."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host, int(port)), ANSWER_S)
        connection.sendall(sent)
    except OSError:
        return None
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed the connection, without waiting."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        try:
            while connection.recv(65_536):
                pass
        except BlockingIOError:
            raise
        except OSError:
            return True
        return True
    return False
