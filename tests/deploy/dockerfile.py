"""The steps of deploy/Dockerfile, and the destinations of the files that it copies."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.deploy.compose import ROOT

FILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Step:
    """An instruction: its keyword, and its arguments with continuation lines joined."""

    word: str
    rest: str


def steps() -> list[Step]:
    lines = re.sub(r"\\\n\s*", "", FILE.read_text()).splitlines()
    parts = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [Step(word, rest) for word, rest in parts]


def copies() -> list[tuple[str, str]]:
    """Files copied from the context to the image, as (source, destination)."""
    result = []
    for step in steps():
        if step.word == "COPY" and not step.rest.startswith("--from="):
            *sources, destination = step.rest.split()
            result += [(source, destination) for source in sources]
    return result
