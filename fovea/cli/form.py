"""Structured output from the flags of `fovea ask`: a single flag at most; a schema as text or as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fovea.client import Format


def form(json_schema: str | None, regex: str | None, choices: Sequence[str]) -> Format | None:
    """None without a flag. Raises BadParameter for several flags, OSError for an unreadable file."""
    from fovea.client import Format

    if sum((json_schema is not None, regex is not None, bool(choices))) > 1:
        raise typer.BadParameter("only one of --json-schema, --regex and --choice")
    if json_schema is not None:
        inline = json_schema.lstrip().startswith("{") or not json_schema.strip()
        return Format.json_schema(json_schema if inline else Path(json_schema).read_text("utf-8", "replace"))
    if regex is not None:
        return Format.regex(regex)
    return Format.choice(*choices) if choices else None
