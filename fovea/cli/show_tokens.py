"""`fovea show-tokens`: draws which tokens of an image a plan keeps. Calls an encoder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fovea.cli.errors import OutputNotWritable
from fovea.cli.images import Pages, named
from fovea.cli.options import ENCODER, ENCODER_HINT, Access, EncoderAddress, takes_access
from fovea.cli.output import reported
from fovea.cli.visual import DropFlat, FlatTolerance, Keep, MaxPixels, tolerance

if TYPE_CHECKING:
    from fovea.client.sources import File
    from fovea.client.values import Placed
    from fovea.contract.plan import RowSelection


@takes_access
def show_tokens(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A file, or a page of a PDF.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="PNG", help="The PNG file to write.")],
    access: Access,
    pages: Pages = "",
    max_pixels: MaxPixels = None,
    drop_flat: DropFlat = False,
    flat_tolerance: FlatTolerance = None,
    keep: Keep = None,
    auto: Annotated[bool, typer.Option("--auto", help="Keep as many as add information.")] = False,
    reducer: Annotated[
        Literal["scope", "divprune", "stride", "random"], typer.Option(help="How tokens are ranked.")
    ] = "scope",
    encoder: EncoderAddress = ENCODER,
) -> None:
    """Draw the grid of an image's tokens, those that are left out, and the rank of the others."""
    from fovea.client import Budget, EncoderClient
    from fovea.contract.plan import EncodePlan

    with reported(False, ENCODER_HINT), EncoderClient(encoder, access.token, tls=access.tls()) as client:
        [(_, file), *others] = named([image], pages, Budget(max_pixels=max_pixels))
        if others:
            raise typer.BadParameter("one page at a time, for instance --pages 3")
        selection = _select(keep, auto, reducer)
        plan = EncodePlan(max_pixels, tolerance(drop_flat, flat_tolerance), selection)
        placed = client.place_rows(client.put(file).facts.digest, plan, order=not selection.all)
        _draw(file, image, placed, output)
    typer.echo(f"{output}: {placed.count:,} of {placed.cost.tokens:,} tokens")


def _select(keep: float | None, auto: bool, reducer: str) -> RowSelection:
    from fovea.contract.plan import ALL_ROWS, Reducer, RowSelection

    if auto and keep is not None:
        raise typer.BadParameter("only one of --keep and --auto")
    if keep is None and not auto:
        return ALL_ROWS
    return RowSelection(1.0 if keep is None else keep, auto, Reducer(reducer))


def _draw(file: File, name: str, placed: Placed, output: str) -> None:
    from fovea.cli.drawing import CELL, Cells, draw
    from fovea.cli.pictures import as_shown

    width, height = placed.cost.planned
    kept = frozenset(placed.kept or range(placed.cost.tokens))
    cells = Cells(width // CELL, height // CELL, kept, placed.order)
    drawn = draw(as_shown(file, name).resize((width, height)), cells)
    try:
        drawn.save(output, "PNG")
    except OSError as error:
        raise OutputNotWritable(output, os.strerror(error.errno or 0)) from None
