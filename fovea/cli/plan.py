"""`fovea plan`: how the decoder would plan images, what they would cost, also under other budgets.

Does not run the language model. Sizes such as 1600x1200 stand for images that are not available.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fovea.cli.images import Pages, named_or_sized
from fovea.cli.options import DECODER, DECODER_HINT, Access, DecoderAddress, Json, takes_access
from fovea.cli.output import clean, emit, reported
from fovea.cli.receipts import size, steps
from fovea.cli.visual import Visual, takes_visual

if TYPE_CHECKING:
    from fovea.client import Count
    from fovea.contract.count import Alternative, PlannedCount, TokenCount

GAP = "  "
UNITS = (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6))


@takes_access
@takes_visual
def plan(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE|WxH", help="Files, PDFs too, ids of stored images, or sizes."),
    ],
    visual: Visual,
    access: Access,
    pages: Pages = "",
    question: Annotated[str, typer.Option("--question", "-q", metavar="TEXT", help="The question.")] = "",
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
) -> None:
    """Show how images would be planned, what they would cost, and what other budgets would cost."""
    from fovea.client import Client, Image, Message

    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as client:
        budget = visual.budget()
        sources = named_or_sized(images, pages, budget)
        parts: list[str | Image] = [Image(source, name) for name, source in sources]
        parts += [question] if question else []
        count = client.count([Message("user", parts)], budget=budget)
        names = [name for name, _ in sources]
        if as_json:
            emit(**_fields(names, count))
        else:
            typer.echo(clean("\n".join(_lines(names, count))))


def _fields(names: Sequence[str], count: Count) -> dict[str, Any]:
    fields = asdict(count)
    plans, images = fields.pop("plans"), fields.pop("images")
    merged = [
        {"name": name, **image, **planned} for name, image, planned in zip(names, images, plans, strict=True)
    ]
    return {"images": merged, **fields}


def _lines(names: Sequence[str], count: Count) -> list[str]:
    images = [
        _image(name, image, planned)
        for name, image, planned in zip(names, count.images, count.plans, strict=True)
    ]
    lines = aligned([("image", "original", "seen as", "tokens", "rows", "what is done"), *images])
    lines += ["", *_sums(count)]
    if count.alternatives:
        heads = ("instead", "tokens", "rows", "KV cache", "prefill", "")
        lines += ["", *aligned([heads, *(_alternative(other, count) for other in count.alternatives)])]
    return lines


def _image(name: str, image: TokenCount, planned: PlannedCount) -> tuple[str, ...]:
    referenced = any(step.name == "repeat" for step in planned.steps)
    repeats = "" if referenced or planned.repeat_of is None else f"repeats image {planned.repeat_of + 1}"
    what = ", ".join(filter(None, (steps(planned.steps), repeats)))
    rows = image.row_bytes * planned.tokens // image.tokens if image.tokens else 0
    tokens = bounds(planned.tokens_min, planned.tokens)
    return name, _size(image.original), _size(image.planned), tokens, size(rows), what


def _sums(count: Count) -> list[str]:
    tokens = bounds(count.visual_tokens_min, count.visual_tokens)
    bound = "" if count.exact else "; how many depends on pixels that were not looked at"
    fits = "fits" if count.fits_context else "does not fit"
    return [
        f"tokens   {tokens} visual + {count.text_tokens:,} text{bound}",
        f"memory   {size(count.row_bytes)} of rows, {size(count.kv_bytes)} of KV cache",
        f"prefill  {_prefill(count.prefill_flops, count)}",
        f"context  {fits}, with the answer",
    ]


def _alternative(other: Alternative, count: Count) -> tuple[str, ...]:
    tokens = bounds(other.visual_tokens_min, other.visual_tokens)
    fits = "" if other.fits_context else "does not fit the context"
    prefill = _prefill(other.prefill_flops, count)
    return other.name, tokens, size(other.row_bytes), size(other.kv_bytes), prefill, fits


def _prefill(flops: float, count: Count) -> str:
    """FLOPs, and the time at the recent prefill speed if it was measured."""
    measured = count.prefill_ms > 0 and count.prefill_flops > 0
    time = f", {count.prefill_ms * flops / count.prefill_flops:,.0f} ms" if measured else ""
    unit, scale = next((pair for pair in UNITS if flops >= pair[1]), UNITS[-1])
    return f"{flops / scale:,.1f} {unit}{time}"


def _size(pair: tuple[int, int]) -> str:
    return f"{pair[0]}x{pair[1]}"


def bounds(least: int, most: int) -> str:
    """A single figure if both are equal."""
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Cells padded to aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
