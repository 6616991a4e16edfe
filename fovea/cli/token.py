"""`fovea token`: makes bearer tokens, and the entries of a server's token file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from fovea.cli.options import Json
from fovea.cli.output import emit, reported
from fovea.contract.errors import CredentialsInvalid

FILE = "--file"


def new(
    tenant: Annotated[str, typer.Option(help="The tenant whose images and answers it gives access to.")],
    role: Annotated[
        Literal["user", "service", "operator"],
        typer.Option(help="user asks questions, service is for decoders, operator may do everything."),
    ],
    name: Annotated[str, typer.Option(help="A name for the log, such as the caller's.")] = "",
    file: Annotated[
        Path | None, typer.Option(FILE, metavar="FILE", help="Append the entry to this token file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token of 256 random bits. It is printed once: the token file holds only its digest."""
    from fovea.server.tokens import checked_identity, entry, new_token

    with reported(as_json):
        try:
            identity = checked_identity(tenant, role, name)
        except ValueError as problem:
            raise CredentialsInvalid(f"the token {problem}") from None
        token = new_token()
        lines = entry(token, identity)
        if file is not None:
            _append(file, lines)
        if as_json:
            emit(token=token, entry=lines, file=str(file or ""))
            return
        typer.echo(token)
        typer.echo(f"appended to {file}" if file else f"\nThe entry for the token file:\n\n{lines}", err=True)


def _append(path: Path, lines: str) -> None:
    """Append to a valid token file, or create it."""
    from fovea.access.files import CredentialFile
    from fovea.cli.errors import OutputNotWritable
    from fovea.server.tokens import parse

    path = path.resolve()  # a link stays a link
    try:
        with _locked(path.parent):
            before = ""
            if path.exists():
                file = CredentialFile(path, FILE)
                parse(file)
                before = file.text().rstrip("\n") + "\n\n"
            _replace(path, before + lines)
    except OSError as error:
        raise OutputNotWritable(str(path), error.strerror or "") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One command at a time, so that none replaces the entry of another. The file itself is replaced, so the
    lock is on its folder; it ends with the process.
    """
    import fcntl  # not on every system that runs the other commands

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, text: str) -> None:
    """Rename a complete file over `path`, so that a server never reads half of it. Owner and mode stay."""
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as output:
            output.write(text)
        if path.exists():
            before = path.stat()
            os.chown(made, before.st_uid, before.st_gid)
            os.chmod(made, before.st_mode & 0o777)
        os.replace(made, path)
    except OSError:
        with suppress(OSError):
            os.unlink(made)
        raise
