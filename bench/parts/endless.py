"""The same checkpoint with an end token that the model never says: every answer has the asked length.

What `ignore_eos` is to an engine's own API, for services whose callers cannot ask for it.
"""

from __future__ import annotations

import json
from pathlib import Path

GENERATION = "generation_config.json"


def endless(model: Path, folder: Path) -> Path:
    """`folder`, made of links to the files of `model` and a generation config of its own."""
    folder.mkdir(parents=True)
    for path in model.iterdir():
        if path.name != GENERATION:
            (folder / path.name).symlink_to(path.resolve())
    generation = json.loads((model / GENERATION).read_text())
    generation["eos_token_id"] = json.loads((model / "config.json").read_text())["video_token_id"]
    (folder / GENERATION).write_text(json.dumps(generation))
    return folder
