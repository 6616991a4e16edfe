"""What a command prints: one JSON object for machines, or short lines for people; errors in the same forms.

Lines never depend on colour, and text that came from a model or a file is printed without control characters.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from fovea.contract.errors import FoveaError

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1


def emit(**fields: Any) -> None:
    """The JSON object of a command, the last line on stdout."""
    typer.echo(json.dumps({"schema": SCHEMA, **fields}))


def console(*, stderr: bool = False) -> Console:
    """A console that wraps and colours nothing by itself, and colours nothing at all in a pipe."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def clean(text: str) -> str:
    """Text without control characters other than tab and line end: an answer must not steer a terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


@contextmanager
def reported(as_json: bool, hint: str = "") -> Iterator[None]:
    """End the command with status 1 and one clear error where the block fails in a way that callers can know.

    `hint` is added for people where the service cannot be reached.
    """
    try:
        yield
    except (FoveaError, OSError, UnicodeEncodeError) as failure:
        if isinstance(failure, OSError) and not failure.filename:
            raise  # no file of ours: the output cannot be written, which `streams` reports
        error = _known(failure)
        if as_json:
            emit(request_id=request_id(error), error=error_fields(error))
        else:
            typer.echo(f"fovea: {_paragraph(error, hint)}", err=True)
        raise typer.Exit(1) from None


def request_id(error: FoveaError) -> str:
    return str(getattr(error, "request_id", ""))


def error_fields(error: FoveaError) -> Mapping[str, Any]:
    return {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "metadata": dict(error.metadata),
    }


def _known(failure: FoveaError | OSError | UnicodeEncodeError) -> FoveaError:
    if isinstance(failure, FoveaError):
        return failure
    from fovea.cli.errors import FileNotReadable, TextNotUtf8

    if isinstance(failure, UnicodeEncodeError):
        return TextNotUtf8(failure.object)
    why = os.strerror(failure.errno) if failure.errno else "cannot be read"
    return FileNotReadable(str(failure.filename or ""), why)


def _paragraph(error: FoveaError, hint: str) -> str:
    text = clean(error.message).rstrip(".")
    violations = () if error.image else error.violations  # a name says more than the image's path
    details = [f"{v.field}: {v.description}" for v in violations if v.description not in text]
    if details:
        text += f" ({clean('; '.join(details))})"
    if hint and error.reason == "UNAVAILABLE":
        text += f". {hint}"
    if found := request_id(error):
        text += f". Request {found}"
    return f"{text} [{error.reason}]"
