"""Formats whose forced text vLLM would spell in tokens that the format does not allow.

vLLM spells forced text with the checkpoint's normalizer and added tokens, so an answer can fail midway. The
native engine's tokenizer has neither. No import of vLLM.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable

from decoder_svc.engine.protocol import ResponseFormat
from decoder_svc.errors import FormatNotEnforceable


def check_spelling(wanted: ResponseFormat, added: Iterable[str]) -> None:
    """Raises FormatNotEnforceable for text that is not NFC or spells an added token."""
    for source in wanted.source:
        text = _unescaped(source) if wanted.kind == "json_schema" else source
        spelled = next((token for token in added if token in text), None)
        why = f"spells the token {spelled}" if spelled else "has text that is not in Unicode's form NFC"
        if spelled or not unicodedata.is_normalized("NFC", text):
            raise FormatNotEnforceable(wanted.field, f"{why}: not with the vLLM engine")


def _unescaped(source: str) -> str:
    """A schema without JSON's escapes. Text that is not JSON is refused later."""
    try:
        return json.dumps(json.loads(source), ensure_ascii=False)
    except (ValueError, RecursionError):
        return source
