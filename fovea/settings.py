"""Settings: one frozen object a service; every field is a flag and an environment variable.

A field stands once, with its default and a sentence; `--help`, the environment and the print at start follow
from it. An unknown `FOVEA_` variable is refused, because a misspelt limit that is silently ignored is worse
than no start. This module knows no service's fields.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

# Variables that belong to the command, not to a service.
COMMAND_VARIABLES = frozenset({"FOVEA_TOKEN", "FOVEA_DECODER", "FOVEA_ENCODER"})
SERVICE_PREFIXES = ("FOVEA_ENCODER_", "FOVEA_DECODER_")
# Kubernetes puts these into every pod for each Service of the namespace, ours (`fovea-encoder`) among them.
INJECTED = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$"
)

T = TypeVar("T", bound="Settings")


class Settings(BaseSettings):
    """The base of a service's settings. Subclasses set `env_prefix` and their fields."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True)

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        alias = cls.model_fields[field].validation_alias
        if isinstance(alias, str):
            return alias
        return f"{cls.model_config['env_prefix']}{field}".upper()

    @classmethod
    def variables(cls) -> set[str]:
        return {cls.variable(field) for field in cls.model_fields}


def unknown_variables(settings: type[Settings], environ: Mapping[str, str]) -> list[str]:
    """The `FOVEA_` variables that nobody reads, sorted. Another service's own prefix is its own business."""
    own = settings.model_config["env_prefix"]
    others = tuple(prefix for prefix in SERVICE_PREFIXES if prefix != own)
    known = settings.variables() | COMMAND_VARIABLES | {"FOVEA_ENCODERS"}
    return sorted(
        name
        for name in environ
        if name.startswith("FOVEA_")
        and name not in known
        and not name.startswith(others)
        and not INJECTED.search(name)
    )


def _parser(settings: type[Settings], program: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    for name, field in settings.model_fields.items():
        default = "" if field.is_required() or field.default is None else f" [default {field.default}]"
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest=name,
            metavar="VALUE",
            help=f"{field.description} [{settings.variable(name)}]{default}".replace("%", "%%"),
        )
    return parser


def load(
    settings: type[T],
    argv: Sequence[str],
    *,
    program: str,
    description: str,
    environ: Mapping[str, str] | None = None,
) -> T:
    """Settings from flags, then the environment, then defaults. Exits with status 2 and one clear text."""
    parser = _parser(settings, program, description)
    flags: dict[str, Any] = vars(parser.parse_args(list(argv)))
    unknown = unknown_variables(settings, os.environ if environ is None else environ)
    if unknown:
        parser.error(f"unknown environment variable: {', '.join(unknown)} (see --help)")
    try:
        aliased = {_alias(settings, name): value for name, value in flags.items()}
        return settings(**aliased)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        parser.error(problems)


def _alias(settings: type[Settings], name: str) -> str:
    alias = settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else name


def printable(settings: Settings) -> dict[str, str]:
    """What is printed at start: every field, secrets as stars (pydantic's SecretStr does that)."""
    return {name: str(getattr(settings, name)) for name in type(settings).model_fields}


def refuse(message: str) -> None:
    """End the process at start with one clear line."""
    print(message, file=sys.stderr)
    raise SystemExit(1)
