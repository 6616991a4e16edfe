"""`fovea count`: the cost of an image from its size alone. Decodes no pixels and needs no service.

Tokens depend on the model's pixel limits, so the output names the model that it counted for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fovea.cli.errors import NeitherFileNorSize
from fovea.cli.images import STDIN, Pages, given
from fovea.cli.images import size_of as parse_size
from fovea.cli.model import PUBLISHED, Model, of_checkpoint, of_decoder
from fovea.cli.options import UINT32, Access, Json, takes_access
from fovea.cli.output import clean, emit, reported
from fovea.contract.errors import FoveaError
from fovea.geometry import Planned

HINT = "Start both services with `fovea serve`, or leave --decoder and FOVEA_DECODER away"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Costed:
    """An image size, and its plan for a model."""

    width: int
    height: int
    planned: Planned
    model: Model

    @property
    def row_bytes(self) -> int:
        return self.planned.tokens * self.model.row_bytes

    @property
    def kv_bytes(self) -> int:
        return self.planned.tokens * self.model.kv_bytes

    @property
    def fits_context(self) -> bool:
        """Whether the image and an answer of default length fit the context."""
        return self.planned.tokens + self.model.answer <= self.model.context


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
        costed = cost(*size_of(image), limit, model)
        if as_json:
            emit(**as_fields(costed))
        else:
            typer.echo(clean("\n".join(as_lines(costed))))


def _model(folder: Path | None, decoder: str, access: Access) -> Model:
    if folder is not None:
        return of_checkpoint(folder)
    return of_decoder(decoder, access) if decoder else PUBLISHED


def cost(width: int, height: int, max_pixels: int, model: Model = PUBLISHED) -> Costed:
    return Costed(width, height, model.geometry.plan(width, height, max_pixels), model)


def _is_pdf(argument: str) -> bool:
    if parse_size(argument) or not Path(argument).is_file():
        return argument.lower().endswith(".pdf")
    from fovea.client.pdf import is_pdf

    return is_pdf(argument)


def _count_pages(path: str, pages: str, max_pixels: int, model: Model, as_json: bool) -> None:
    from fovea.client.pdf import sizes

    costs = [
        (number, _cost_of_page(path, number, size, max_pixels, model)) for number, size in sizes(path, pages)
    ]
    if as_json:
        fields = [{"page": number, **as_fields(costed)} for number, costed in costs]
        emit(pages=fields, tokens=sum(costed.planned.tokens for _, costed in costs), model=model.name)
    else:
        typer.echo(clean("\n".join(_page_lines(costs, model))))


def _cost_of_page(path: str, number: int, size: tuple[int, int], max_pixels: int, model: Model) -> Costed:
    try:
        return cost(*size, max_pixels, model)
    except FoveaError as error:
        error.name_image(f"{path} page {number}")
        raise


def _page_lines(costs: Sequence[tuple[int, Costed]], model: Model) -> list[str]:
    lines = [f"page {number}: {as_lines(costed)[0].partition(': ')[2]}" for number, costed in costs]
    total = sum(costed.planned.tokens for _, costed in costs)
    return [*lines, f"in all: {total:,} tokens", _counted_for(model)]


def size_of(argument: str) -> tuple[int, int]:
    """(width, height) as displayed, of a `WxH` or of a file."""
    size = parse_size(argument)
    if size:
        return size
    from fovea.client.sources import path_of

    if argument != STDIN and not path_of(argument).exists():
        raise NeitherFileNorSize(argument)
    return _size_of_file(argument)


def _size_of_file(argument: str) -> tuple[int, int]:
    from fovea.cli.pictures import read
    from fovea.images.orientation import SIDEWAYS

    still = read(given(argument), argument)
    sideways = still.orientation in SIDEWAYS
    return (still.height, still.width) if sideways else (still.width, still.height)


def as_fields(costed: Costed) -> dict[str, Any]:
    planned = costed.planned
    return {
        "width": costed.width,
        "height": costed.height,
        "resized": [planned.width, planned.height],
        "patches": planned.patches,
        "tokens": planned.tokens,
        "row_bytes": costed.row_bytes,
        "kv_bytes": costed.kv_bytes,
        "fits_context": costed.fits_context,
        "exact": True,
        "model": costed.model.name,
    }


def as_lines(costed: Costed) -> list[str]:
    planned, model = costed.planned, costed.model
    fits = "fits" if costed.fits_context else "does not fit"
    return [
        f"{costed.width}x{costed.height}: {planned.tokens:,} tokens ({planned.patches:,} patches)",
        f"  seen as  {planned.width}x{planned.height} pixels",
        f"  context  {fits} {model.context:,} tokens together with an answer of {model.answer}",
        f"  memory   {costed.row_bytes / MIB:.1f} MiB of rows, {costed.kv_bytes / MIB:.1f} MiB of KV cache",
        f"  {_counted_for(model)}",
        "Patches are not tokens: the language model reads one token for each 2x2 patches.",
    ]


def _counted_for(model: Model) -> str:
    geometry = model.geometry
    others = "; for another: --model DIR or --decoder HOST:PORT" if model is PUBLISHED else ""
    return f"model    {model.name}, {geometry.min_pixels:,} to {geometry.max_pixels:,} pixels{others}"
