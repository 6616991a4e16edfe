"""Compares two outputs of a command, without the values that differ from run to run.

The last section of docs/grpcurl.md lists the same values; a test compares both lists.
"""

from __future__ import annotations

import re

# Names of fields whose values differ: by the clock, by the draw, by the float unit, by the size of a page.
VOLATILE = (
    "expire_time", "request_id", "token", "stages_ms", "fingerprint", "rows_digest",
    "record_bytes", "upload_bytes", "bytes",
)  # fmt: skip
_VALUE = re.compile(rf'"({"|".join(VOLATILE)})": (?:"[^"]*"|\{{[^{{}}]*\}}|[-\d.e]+)')


# Tokens that come in one delta or in two, as the clock has it.
_CUT = re.compile(r'\n    \]\n  \}\n\}\n\{\n  "delta": \{\n    "token_ids": \[\n')


def steady(output: str) -> str:
    """The output without the values that may differ, with all tokens in a single delta. Field names are kept."""
    return _CUT.sub(",\n", _VALUE.sub(r'"\1": ...', output))
