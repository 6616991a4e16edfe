"""`fovea cache`: shows what an encoder holds, or deletes an image."""

from __future__ import annotations

from typing import Annotated

import typer

from fovea.cli.options import ENCODER, ENCODER_HINT, Access, EncoderAddress, Json, takes_access
from fovea.cli.output import emit, reported
from fovea.cli.receipts import size


@takes_access
def stats(access: Access, as_json: Json = False, encoder: EncoderAddress = ENCODER) -> None:
    """Print what the encoder's cache holds and how often it was hit."""
    from fovea.client import EncoderClient

    with reported(as_json, ENCODER_HINT), EncoderClient(encoder, access.token, tls=access.tls()) as client:
        cache = client.cache_stats()
    if as_json:
        emit(**vars(cache))
        return
    lookups = cache.hits + cache.misses
    share = f" ({cache.hits / lookups:.0%})" if lookups else ""
    for key, value in (
        ("rows", f"{cache.records:,} records, {_filled(cache.record_bytes, cache.record_capacity_bytes)}"),
        ("uploads", f"{cache.uploads:,} images, {_filled(cache.upload_bytes, cache.upload_capacity_bytes)}"),
        ("asks", f"{cache.hits:,} hits{share}, {cache.misses:,} misses since the encoder's start"),
        (
            "evicted",
            f"{cache.evictions:,} to stay within capacity, {cache.failed_checks:,} after a failed check",
        ),
        ("not stored", f"{cache.skipped_puts:,} served without being stored"),
    ):
        typer.echo(f"{key:<12}{value}")


@takes_access
def delete(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="The id of an image, sha256:<hex>.")],
    access: Access,
    as_json: Json = False,
    encoder: EncoderAddress = ENCODER,
) -> None:
    """Remove an image and all rows of its pixels."""
    from fovea.client import EncoderClient

    with reported(as_json, ENCODER_HINT), EncoderClient(encoder, access.token, tls=access.tls()) as client:
        deleted = client.delete(digest)
    if as_json:
        emit(digest=digest, **vars(deleted))
    elif deleted.uploads or deleted.records:
        typer.echo(
            f"removed: uploads {deleted.uploads}, row records {deleted.records}, {size(deleted.bytes)}"
        )
    else:
        typer.echo("nothing was stored under this id")


def _filled(held: int, capacity: int) -> str:
    return f"{size(held)} of {size(capacity)}"
