"""The stages and steps of deploy/Dockerfile. `test_buildkit.py` compares them with those of BuildKit's parser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.deploy.compose import ROOT

FILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Step:
    """An instruction: its keyword, and its arguments with continuation lines joined."""

    word: str
    rest: str

    @property
    def flags(self) -> list[str]:
        """What stands before the arguments, such as `--from=build`."""
        return re.findall(r"--\S+", re.match(r"(--\S+ +)*", self.rest)[0])  # type: ignore[index]

    @property
    def arguments(self) -> str:
        """The arguments without flags."""
        return re.sub(r"^(--\S+ +)*", "", self.rest)


@dataclass(frozen=True)
class Stage:
    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        return [step.rest for step in self.steps if step.word == word]


def instructions() -> list[Step]:
    lines = re.sub(r"\\\n\s*", "", FILE.read_text()).splitlines()
    parts = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [Step(word, rest) for word, rest in parts]


def stages() -> dict[str, Stage]:
    """By name, in order. Arguments before the first FROM are in `arguments`."""
    result: dict[str, Stage] = {}
    for step in instructions():
        if step.word == "FROM":
            base, _, name = step.rest.partition(" AS ")
            last = result[name] = Stage(name, base)
        elif result:
            last.steps.append(step)
    return result


def arguments() -> dict[str, str]:
    """The defaults of the arguments that choose the bases."""
    result = {}
    for step in instructions():
        if step.word == "FROM":
            return result
        name, _, value = step.rest.partition("=")
        result[name] = value
    raise ValueError("no FROM")


def above(target: str) -> Iterator[Stage]:
    """A stage, and those that it begins with, up to the base image."""
    known = stages()
    while target in known:
        yield known[target]
        target = known[target].base


def image(target: str) -> str:
    """The name that an image has everywhere: its service, and what its torch computes on."""
    service, _, kind = target.partition("-")
    return f"fovea-{service}:{kind or 'cpu'}"


def command(target: str) -> list[str]:
    """What an image runs."""
    last = next(rest for stage in above(target) for rest in reversed(stage.of("CMD")))
    words: list[str] = json.loads(last)
    return words


def copies() -> list[tuple[str, str]]:
    """Files copied from the context, as (source, destination)."""
    result = []
    for step in instructions():
        if step.word == "COPY" and not step.flags:
            *sources, destination = step.rest.split()
            result += [(source, destination) for source in sources]
    return result
