"""Settings: a frozen object per service; every field is a flag and an environment variable.

A field is declared once, with default and description; `--help`, the environment and the printout at start
derive from it. Unknown `FOVEA_` variables are refused: silently ignoring a misspelt limit is worse than not
starting. An empty variable counts as unset, except for fields marked `EMPTY_IS_OFF`. Independent of any
service's fields.

Flags use argparse directly. pydantic-settings' `CliSettingsSource` (2.16) was tried and is not shorter: it
adds a flag `--FOVEA-ENCODERS`, documents enum member names that variables refuse, reads the value `null` as
None and ignores an empty flag; the single-line errors and EMPTY_IS_OFF would remain here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, NoReturn, Self, TypeVar

from pydantic import AfterValidator, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from fovea.address import listened, listened_or_off

# Variables of the command and of the decoder, which every service accepts.
ACCEPTED_VARIABLES = frozenset(
    {"FOVEA_TOKEN", "FOVEA_CA", "FOVEA_CERT", "FOVEA_KEY", "FOVEA_DECODER", "FOVEA_ENCODER", "FOVEA_ENCODERS"}
)
SERVICE_PREFIXES = ("FOVEA_ENCODER_", "FOVEA_DECODER_", "FOVEA_GATEWAY_")
# Kubernetes sets these in every pod for each Service of the namespace, including ours (`fovea-encoder`).
INJECTED = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$"
)
EMPTY_IS_OFF = "empty switches it off"
SHOWN_CHARACTERS = 80
"""Characters of a wrong value that an error line shows."""

MAX_MESSAGE_BYTES = 2**31 - 1
"""The largest value of gRPC's message size options."""
MAX_THREADS = 4096

ListenAddress = Annotated[str, AfterValidator(listened)]
OptionalListenAddress = Annotated[str, AfterValidator(listened_or_off), EMPTY_IS_OFF]

T = TypeVar("T", bound="Settings")


class Settings(BaseSettings):
    """Base class of a service's settings. Subclasses set `env_prefix` and their fields."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_ignore_empty=True, allow_inf_nan=False, loc_by_alias=False
    )

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        alias = _alias(cls, field)
        return alias if alias != field else f"{cls.model_config['env_prefix']}{field}".upper()

    @classmethod
    def variables(cls) -> set[str]:
        return {cls.variable(field) for field in cls.model_fields}

    def was_set(self, field: str) -> bool:
        """Whether a flag or a variable set the field."""
        return field in self.model_fields_set

    def changed(self, values: Mapping[str, Any]) -> Self:
        """These settings with other values of some fields, checked anew. Raises ValidationError."""
        given = {name: getattr(self, name) for name in self.model_fields_set} | dict(values)
        return type(self)(**{_alias(type(self), name): value for name, value in given.items()})


def unknown_variables(settings: type[Settings], environ: Mapping[str, str]) -> list[str]:
    """The `FOVEA_` variables that no setting reads, sorted. Other services' prefixes are skipped."""
    own = settings.model_config["env_prefix"]
    others = tuple(prefix for prefix in SERVICE_PREFIXES if prefix != own)
    known = settings.variables() | ACCEPTED_VARIABLES
    return sorted(
        name
        for name in environ
        if name.startswith("FOVEA_")
        and name not in known
        and not name.startswith(others)
        and not INJECTED.search(name)
    )


class _Parser(argparse.ArgumentParser):
    """Reports errors in a single line: the usage of sixty flags would hide the problem."""

    as_json = False

    def error(self, message: str) -> NoReturn:
        line = f"{self.prog}: error: {message} (--help lists all settings)"
        refuse(json.dumps({"event": line, "level": "error"}) if self.as_json else line, status=2)


def _parser(settings: type[Settings], program: str, description: str) -> _Parser:
    parser = _Parser(
        prog=program,
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in settings.model_fields.items():
        default = "" if field.is_required() or field.default is None else f" [default {field.default}]"
        parser.add_argument(
            _flag(name),
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
    """Settings from flags, then environment, then defaults. Errors exit with status 2 and a single line."""
    parser = _parser(settings, program, description)
    parser.as_json = _wants_json(settings, argv)
    flags: dict[str, Any] = vars(parser.parse_args(list(argv)))
    unknown = unknown_variables(settings, os.environ if environ is None else environ)
    if unknown:
        parser.error(f"unknown environment variable: {', '.join(_suggested(settings, unknown))}")
    try:
        return settings(**{_alias(settings, name): value for name, value in (_off(settings) | flags).items()})
    except ValidationError as error:
        parser.error("; ".join(_problem(settings, problem) for problem in error.errors()))


def _wants_json(settings: type[Settings], argv: Sequence[str]) -> bool:
    """Whether the log will be JSON, determined before settings are parsed."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--log-form", nargs="?", default=os.environ.get(settings.variable("log_form")))
    return bool(first.parse_known_args(list(argv))[0].log_form == "json")


def _suggested(settings: type[Settings], unknown: Sequence[str]) -> list[str]:
    """Each unknown name with its closest known name."""
    known = sorted(settings.variables() | ACCEPTED_VARIABLES)
    close = ((name, get_close_matches(name, known, 1)) for name in unknown)
    return [f"{name} (did you mean {match[0]}?)" if match else name for name, match in close]


def _off(settings: type[Settings]) -> dict[str, str]:
    """The fields that an empty variable switches off."""
    return {
        name: ""
        for name, field in settings.model_fields.items()
        if EMPTY_IS_OFF in field.metadata and os.environ.get(settings.variable(name)) == ""
    }


def _problem(settings: type[Settings], problem: ErrorDetails) -> str:
    """A wrong setting in a single line: flag and variable, the problem, and the value unless it is secret."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0])
    where = f"{_flag(name)} ({settings.variable(name)})"
    secret = settings.model_fields[name].annotation is SecretStr
    if secret or problem["type"] in ("missing", "value_error"):
        return f"{where}: {message}"
    return f"{where}: {message}, not {str(problem['input'])[:SHOWN_CHARACTERS]!r}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _alias(settings: type[Settings], name: str) -> str:
    field = settings.model_fields.get(name)
    return field.validation_alias if field and isinstance(field.validation_alias, str) else name


def printable(settings: Settings) -> dict[str, str]:
    """What is printed at start: every field, with secrets as stars (by pydantic's SecretStr)."""
    return {name: str(getattr(settings, name)) for name in type(settings).model_fields}


def refuse(message: str, status: int = 1) -> NoReturn:
    """Exit with `status` and a single line on stderr."""
    print(" ".join(message.split()), file=sys.stderr)
    raise SystemExit(status)
