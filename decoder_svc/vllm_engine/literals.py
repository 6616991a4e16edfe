"""Formats whose forced text vLLM would spell in tokens that the format does not allow.

vLLM spells forced text with the checkpoint's normalizer and added tokens, so an answer can fail midway. The
native engine's tokenizer has neither. No import of vLLM.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator

from decoder_svc.engine.protocol import AnswerRules, ResponseFormat, Wanted
from decoder_svc.errors import FormatNotEnforceable


def check_spelling(wanted: Wanted, added: Iterable[str]) -> None:
    """Raises FormatNotEnforceable for text of the caller that is not NFC or spells an added token."""
    for field, text in _texts(wanted):
        spelled = next((token for token in added if token in text), None)
        why = f"spells the token {spelled}" if spelled else "has text that is not in Unicode's form NFC"
        if spelled or not unicodedata.is_normalized("NFC", text):
            raise FormatNotEnforceable(field, f"{why}: not with the vLLM engine")


def _texts(wanted: Wanted | None) -> Iterator[tuple[str, str]]:
    """The caller's texts, each with its field."""
    if isinstance(wanted, AnswerRules):
        yield from ((tool.field, _unescaped(tool.schema)) for tool in wanted.tools)
        yield from _texts(wanted.format)
    elif isinstance(wanted, ResponseFormat):
        is_schema = wanted.kind == "json_schema"
        yield from ((wanted.field, _unescaped(text) if is_schema else text) for text in wanted.source)


def _unescaped(source: str) -> str:
    """A schema without JSON's escapes. Text that is not JSON is refused later."""
    try:
        return json.dumps(json.loads(source), ensure_ascii=False)
    except (ValueError, RecursionError):
        return source
