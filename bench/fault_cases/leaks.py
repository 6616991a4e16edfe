"""What no status and no log line may hold: words about our insides. The test suite checks the same pattern.

Callers get ids, fields, limits and values. Paths, addresses, texts of libraries and Python's own
representations help only an attacker. Receipts name encoders by their addresses; errors do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PATHS = r"(?<![\w:/.])/(?:root|home|tmp|usr|work|var|opt|etc|proc|dev|srv|app|mnt)/|\.py\b|site-packages"
_REPRESENTATIONS = (
    r"\bat 0x[0-9a-f]{4,}|\b0x(?=\d*[a-f])[0-9a-f]{6,}|\bobject at\b|<_io\b|<class '|\bbytearray\(|\bdtype\("
)
_LIBRARIES = (
    r"Traceback|\bPIL\b|Pillow|pdfium|\blmdb\.|\bMDB_|\btorch\.|\bnumpy\.|(?<!/)\bgrpc\.|_pb2\b|cygrpc|ipv[46]:"
    r"|Internal error from Core|google\.protobuf|\bpydantic|\[Errno "
)
_EXCEPTIONS = r"\b[A-Z]\w+(?:Error|Exception): "
_ADDRESSES = r"\b(?:localhost|\d{1,3}(?:\.\d{1,3}){3}):\d{2,5}\b"

IN_LOGS = re.compile(_REPRESENTATIONS, re.IGNORECASE)
"""Logs are for the operator: they may name paths and addresses, but representations tell them nothing."""
IN_STATUS = re.compile(
    "|".join((_PATHS, _REPRESENTATIONS, _LIBRARIES, _EXCEPTIONS, _ADDRESSES)), re.IGNORECASE
)


def leaks(texts: Iterable[str], own: Iterable[str] = (), pattern: re.Pattern[str] = IN_STATUS) -> list[str]:
    """The texts that match `pattern` once the strings in `own`, which the caller sent or dialled, are cut."""
    return [text for text in texts if pattern.search(_without(text, own))]


def _without(text: str, own: Iterable[str]) -> str:
    for known in own:
        text = text.replace(known, "")
    return text
