"""Formats whose text vLLM would force in other tokens than it allows.

vLLM spells forced text with the checkpoint's normalizer and added tokens, and an answer then fails midway.
The native engine has a tokenizer without them. Knows no vLLM.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable

from decoder_svc.engine.protocol import ResponseFormat
from decoder_svc.errors import FormatNotEnforceable


def check_spelling(wanted: ResponseFormat, added: Iterable[str]) -> None:
    """Raises FormatNotEnforceable for text that is not NFC, or that spells an added token."""
    for source in wanted.source:
        text = _unescaped(source) if wanted.kind == "json_schema" else source
        found = next((token for token in added if token in text), None)
        why = f"spells the token {found}" if found else "has text that is not in Unicode's form NFC"
        if found or not unicodedata.is_normalized("NFC", text):
            raise FormatNotEnforceable(f"response_format.{wanted.kind}", f"{why}: not with the vLLM engine")


def _unescaped(source: str) -> str:
    """A schema without JSON's escapes, as far as it is JSON; what is not is refused later."""
    try:
        return json.dumps(json.loads(source), ensure_ascii=False)
    except (ValueError, RecursionError):
        return source
