"""`fovea count`: the cost of an image from its size alone. Decodes no pixels and needs no service.

Tokens depend on the model's pixel limits, so the output names the model that it counted for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fovea.cli.errors import NeitherFileNorSize
from fovea.cli.images import STDIN, Pages, given, parse_size
from fovea.cli.model import PUBLISHED, Model, of_checkpoint, of_decoder
from fovea.cli.options import UINT32, Access, Json, takes_access
from fovea.cli.output import clean, emit, reported
from fovea.geometry import Planned
from fovea.planning.sizes import Size

HINT = "Start both services with `fovea serve`, or leave --decoder and FOVEA_DECODER away"
MIB = 1024 * 1024


@takes_access
def count(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE|WxH", help="A file, a PDF too, or a size such as 1024x1024.")
    ],
    access: Access,
    pages: Pages = "",
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1, max=UINT32, metavar="N", help="Shrink to at most this many pixels; 1310720 by default."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help="Count for the model in this checkpoint folder."),
    ] = None,
    decoder: Annotated[
        str,
        typer.Option(
            envvar="FOVEA_DECODER", metavar="HOST:PORT", help="Count for the model of a running decoder."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Count the tokens of an image. Pure arithmetic: no pixel is read.

    Counts for Qwen3-VL as published, unless --model or --decoder names the model that will answer.
    """
    with reported(as_json, HINT):
        model = _model(folder, decoder, access)
        limit = model.max_pixels if max_pixels is None else max_pixels
        if pages or _is_pdf(image):
            _count_pages(image, pages, limit, model, as_json)
            return
        size = size_of(image)
        planned = model.geometry.plan(*size, limit)
        if as_json:
            emit(**_fields(size, planned, model))
        else:
            typer.echo(clean("\n".join(_lines(size, planned, model))))


def _model(folder: Path | None, decoder: str, access: Access) -> Model:
    if folder is not None:
        return of_checkpoint(folder)
    return of_decoder(decoder, access) if decoder else PUBLISHED


def _is_pdf(argument: str) -> bool:
    if parse_size(argument) or not Path(argument).is_file():
        return argument.lower().endswith(".pdf")
    from fovea.client.pdf import is_pdf

    return is_pdf(argument)


def _count_pages(path: str, pages: str, max_pixels: int, model: Model, as_json: bool) -> None:
    from fovea.client.naming import naming_image
    from fovea.client.pdf import sizes

    plans: list[tuple[int, Size, Planned]] = []
    for number, size in sizes(path, pages):
        with naming_image(f"{path} page {number}"):
            plans.append((number, size, model.geometry.plan(*size, max_pixels)))
    total = sum(planned.tokens for _, _, planned in plans)
    if as_json:
        fields = [{"page": number, **_fields(size, planned, model)} for number, size, planned in plans]
        emit(pages=fields, tokens=total, model=model.name)
    else:
        lines = [f"page {number}: {_tokens(planned)}" for number, _, planned in plans]
        typer.echo(clean("\n".join([*lines, f"in all: {total:,} tokens", _counted_for(model)])))


def size_of(argument: str) -> tuple[int, int]:
    """(width, height) as displayed, of a `WxH` or of a file."""
    size = parse_size(argument)
    if size:
        return size
    from fovea.cli.pictures import read
    from fovea.client.sources import path_of
    from fovea.images.orientation import SIDEWAYS

    if argument != STDIN and not path_of(argument).exists():
        raise NeitherFileNorSize(argument)
    still = read(given(argument), argument)
    sideways = still.orientation in SIDEWAYS
    return (still.height, still.width) if sideways else (still.width, still.height)


def _fields(size: Size, planned: Planned, model: Model) -> dict[str, Any]:
    return {
        "width": size[0],
        "height": size[1],
        "resized": [planned.width, planned.height],
        "patches": planned.patches,
        "tokens": planned.tokens,
        "row_bytes": planned.tokens * model.row_bytes,
        "kv_bytes": planned.tokens * model.kv_bytes,
        "fits_context": model.fits_context(planned.tokens),
        "exact": True,
        "model": model.name,
    }


def _lines(size: Size, planned: Planned, model: Model) -> list[str]:
    fits = "fits" if model.fits_context(planned.tokens) else "does not fit"
    rows_mib, kv_mib = planned.tokens * model.row_bytes / MIB, planned.tokens * model.kv_bytes / MIB
    return [
        f"{size[0]}x{size[1]}: {_tokens(planned)}",
        f"  seen as  {planned.width}x{planned.height} pixels",
        f"  context  {fits} {model.context:,} tokens together with an answer of {model.answer}",
        f"  memory   {rows_mib:.1f} MiB of rows, {kv_mib:.1f} MiB of KV cache",
        f"  {_counted_for(model)}",
        "Patches are not tokens: the language model reads one token for each 2x2 patches.",
    ]


def _tokens(planned: Planned) -> str:
    return f"{planned.tokens:,} tokens ({planned.patches:,} patches)"


def _counted_for(model: Model) -> str:
    geometry = model.geometry
    others = "; for another: --model DIR or --decoder HOST:PORT" if model is PUBLISHED else ""
    return f"model    {model.name}, {geometry.min_pixels:,} to {geometry.max_pixels:,} pixels{others}"
