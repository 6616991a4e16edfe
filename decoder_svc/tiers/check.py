"""`python -m decoder_svc.tiers.check FILE`: checks a tiers file and prints its tiers as a line of JSON.

`fovea tiers check` runs it in a process of its own, because the command does not import the services.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from decoder_svc.errors import TiersFileInvalid
from decoder_svc.settings import DecoderSettings
from decoder_svc.tiers.build import settings_of
from decoder_svc.tiers.file import Entry, read_tiers
from fovea.settings import refuse


def main(argv: Sequence[str]) -> None:
    """Exits with 2 and a single line if a decoder would not start with the file."""
    parser = argparse.ArgumentParser(prog="python -m decoder_svc.tiers.check", allow_abbrev=False)
    parser.add_argument("file", type=Path)
    parser.add_argument("--listen", default=DecoderSettings.model_fields["listen"].default)
    chosen = parser.parse_args(list(argv))
    try:
        entries = read_tiers(chosen.file, settings_of(), chosen.listen)
    except TiersFileInvalid as error:
        refuse(error.message, status=2)
    print(json.dumps([described(entry) for entry in entries], default=str))


def described(entry: Entry) -> dict[str, Any]:
    """The tier as the command prints it. `price` is None for the decoder's own tariff, or without a model."""
    common = asdict(entry.common)
    conditions = {key: value for key, value in common["when"].items() if value not in (None, ())}
    settings = {} if entry.is_own else asdict(entry.settings)
    return {
        "name": entry.name,
        "kind": entry.common.kind,
        "own": entry.is_own,
        "when": conditions,
        "price": settings.pop("price", None),
        "settings": settings,
        "line": entry.line,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
