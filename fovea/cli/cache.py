"""`fovea cache`: shows what an encoder holds, deletes images or a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.images import given
from fovea.cli.options import (
    DECODER,
    DECODER_HINT,
    ENCODER,
    ENCODER_HINT,
    Access,
    DecoderAddress,
    EncoderAddress,
    Json,
    takes_access,
)
from fovea.cli.output import emit, reported
from fovea.cli.receipts import size

if TYPE_CHECKING:
    from fovea.contract.cache import Deleted, Deletion


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
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Files, or ids sha256:<hex>.")],
    access: Access,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="HOST:PORT", help="Only on this encoder, without a decoder.")
    ] = "",
) -> None:
    """Remove images and all rows of their pixels, on every encoder and in the decoder's caches."""
    from fovea.client import Client, EncoderClient

    if encoder:
        with (
            reported(as_json, ENCODER_HINT),
            EncoderClient(encoder, access.token, tls=access.tls()) as client,
        ):
            for image in images:
                digest = _id(image)
                _print(client.delete(digest), as_json, digest=digest)
        return
    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as front:
        deletions = {digest: front.delete(digest) for digest in map(_id, images)}
    for digest, deletion in deletions.items():
        _print(deletion.total, as_json, deletion, digest=digest)
    if not all(deletion.complete for deletion in deletions.values()):
        raise typer.Exit(1)


@takes_access
def purge(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="As in the token file.")],
    access: Access,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
) -> None:
    """Remove everything of a tenant, on every encoder and in the decoder's caches. For operators."""
    from fovea.client import Client

    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as client:
        deletion = client.purge(tenant)
    _print(deletion.total, as_json, deletion, tenant=tenant)
    if not deletion.complete:
        raise typer.Exit(1)


def _id(image: str) -> str:
    """The id of an image, given as the id itself or as a file."""
    from fovea.client.messages import id_of

    return id_of(given(image))


def _print(deleted: Deleted, as_json: bool, deletion: Deletion | None = None, **name: str) -> None:
    """`name` is `digest` or `tenant`; `deletion` names the encoders of a decoder."""
    if as_json:
        more = {} if deletion is None else {"complete": deletion.complete, "encoders": _encoders(deletion)}
        emit(**name, **vars(deleted), **more)
        return
    if deleted.uploads or deleted.records:
        typer.echo(
            f"removed: uploads {deleted.uploads}, row records {deleted.records}, {size(deleted.bytes)}"
            f"{_on_disk(deleted)}"
        )
    else:
        nothing = "nothing was stored under this id" if "digest" in name else "nothing was stored"
        typer.echo(nothing + _on_disk(deleted))
    for each in deletion.encoders if deletion else ():
        if each.deleted is None:
            typer.echo(f"not confirmed by {each.encoder} ({each.reason}): repeat the command once it is back")


def _encoders(deletion: Deletion) -> list[dict[str, object]]:
    return [
        {
            "encoder": each.encoder,
            "confirmed": each.deleted is not None,
            "reason": each.reason,
            "erasure": each.deleted and each.deleted.erasure,
        }
        for each in deletion.encoders
    ]


def _on_disk(deleted: Deleted) -> str:
    return f"; on disk: {deleted.erasure.replace('_', ' ')}" if deleted.erasure else ""


def _filled(held: int, capacity: int) -> str:
    return f"{size(held)} of {size(capacity)}"
