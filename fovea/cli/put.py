"""`fovea put`: stores an image, so that requests can reference it by id."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.images import given
from fovea.cli.options import DECODER, DECODER_HINT, Access, DecoderAddress, Json, takes_access
from fovea.cli.output import console, emit, reported
from fovea.contract.image import StoredImage

if TYPE_CHECKING:
    from fovea.client import Client


@takes_access
def put(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A file.")],
    access: Access,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
) -> None:
    """Store an image and print its id. A stored image is not sent again, unless it expires soon."""
    from fovea.client import Client

    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as client:
        stored = _with_progress(client, image)
        if as_json:
            emit(**_fields(stored))
        else:
            _print(stored)


def _with_progress(client: Client, image: str) -> StoredImage:
    from rich.progress import Progress

    out = console(stderr=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("sending", total=None)
        return client.put(
            given(image), lambda sent, total: progress.update(task, completed=sent, total=total)
        )


def _expiry(stored: StoredImage) -> datetime:
    return datetime.fromtimestamp(stored.expires, UTC)


def _fields(stored: StoredImage) -> dict[str, object]:
    return {
        **vars(stored.facts),
        "already_stored": stored.already,
        "expire_time": _expiry(stored).isoformat(timespec="seconds"),
        "encoder": stored.encoder,
    }


def _print(stored: StoredImage) -> None:
    facts = stored.facts
    held = "held already" if stored.already else "stored"
    typer.echo(facts.digest)
    typer.echo(
        f"{facts.format} {facts.width}x{facts.height}, {facts.byte_size:,} bytes, {held} on {stored.encoder},"
        f" kept until {_expiry(stored):%Y-%m-%d %H:%M} UTC"
    )
