"""`fovea cache`: what an encoder holds, and letting go of an image."""

from __future__ import annotations

from typing import Annotated

import typer

from fovea.cli.options import ENCODER, EncoderAddress, Json, Token
from fovea.cli.output import emit, reported
from fovea.cli.receipts import size

HINT = "Start both services with `fovea serve`, or name another encoder with --encoder"


def stats(as_json: Json = False, token: Token = "", encoder: EncoderAddress = ENCODER) -> None:
    """Print what the encoder's cache holds and how often it was hit."""
    from fovea.client import EncoderClient

    with reported(as_json, HINT), EncoderClient(encoder, token or None) as client:
        found = client.cache_stats()
    if as_json:
        emit(**vars(found))
        return
    asks = found.hits + found.misses
    share = f" ({found.hits / asks:.0%})" if asks else ""
    for key, value in (
        ("rows", f"{found.records:,} records, {_filled(found.record_bytes, found.record_capacity_bytes)}"),
        ("uploads", f"{found.uploads:,} images, {_filled(found.upload_bytes, found.upload_capacity_bytes)}"),
        ("asks", f"{found.hits:,} hits{share}, {found.misses:,} misses since the encoder's start"),
        ("evicted", f"{found.evictions:,} to hold the bound, {found.failed_checks:,} for a failed check"),
        ("not stored", f"{found.skipped_puts:,} that were served all the same"),
    ):
        typer.echo(f"{key:<12}{value}")


def delete(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="The id of an image, sha256:<hex>.")],
    as_json: Json = False,
    token: Token = "",
    encoder: EncoderAddress = ENCODER,
) -> None:
    """Remove an image and all rows of its pixels."""
    from fovea.client import EncoderClient

    with reported(as_json, HINT), EncoderClient(encoder, token or None) as client:
        gone = client.delete(digest)
    if as_json:
        emit(digest=digest, **vars(gone))
    elif gone.uploads or gone.records:
        typer.echo(f"removed: uploads {gone.uploads}, row records {gone.records}, {size(gone.bytes)}")
    else:
        typer.echo("nothing was stored under this id")


def _filled(held: int, capacity: int) -> str:
    return f"{size(held)} of {size(capacity)}"
