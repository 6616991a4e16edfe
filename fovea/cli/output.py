"""The output of a command: a JSON object for machines or short lines for people; errors likewise.

Lines never depend on colour. Text from a model or a file is printed without control characters.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from fovea.contract.errors import FoveaError

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1


def emit(**fields: Any) -> None:
    """Print the command's JSON object, the last line on stdout."""
    typer.echo(json.dumps({"schema": SCHEMA, **fields}))


def console(*, stderr: bool = False) -> Console:
    """A console that neither wraps nor highlights, and prints no colour into a pipe."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def clean(text: str) -> str:
    """Text without control characters except tab and newline: an answer must not control the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


@contextmanager
def reported(as_json: bool, hint: str = "") -> Iterator[None]:
    """Report known failures of the block as a single clear error, and exit with status 1.

    `hint` is appended for people if the service is unreachable.
    """
    try:
        yield
    except (FoveaError, OSError, UnicodeEncodeError) as failure:
        if isinstance(failure, OSError) and not failure.filename:
            raise  # the output cannot be written; `streams` reports it
        error = _known(failure)
        if as_json:
            fields = {"code": error.code.name, "reason": error.reason, "message": error.message}
            emit(request_id=error.request_id, error={**fields, "metadata": dict(error.metadata)})
        else:
            typer.echo(f"fovea: {_paragraph(error, hint)}", err=True)
        raise typer.Exit(1) from None


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
    violations = () if error.image else error.violations  # the name replaces the image's path
    details = [f"{v.field}: {v.description}" for v in violations if v.description not in text]
    if details:
        text += f" ({clean('; '.join(details))})"
    if hint and error.reason == "UNAVAILABLE":
        text += f". {hint}"
    if error.request_id:
        text += f". Request {error.request_id}"
    return f"{text} [{error.reason}]"
