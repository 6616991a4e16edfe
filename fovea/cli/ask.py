"""`fovea ask`: asks a question about images, streams the answer, then prints its cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.form import form
from fovea.cli.images import Pages, named
from fovea.cli.options import (
    DECODER,
    DECODER_HINT,
    UINT32,
    Access,
    DecoderAddress,
    Json,
    Route,
    takes_access,
    takes_route,
)
from fovea.cli.output import clean, console, emit, reported
from fovea.cli.visual import PANEL, Visual, takes_visual

if TYPE_CHECKING:
    from fovea.client import Answer


@takes_access
@takes_route
@takes_visual
def ask(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Files, PDFs too, or ids of stored images; `-` is standard input."
        ),
    ],
    question: Annotated[str, typer.Option("--question", "-q", metavar="TEXT", help="The question.")],
    visual: Visual,
    route: Route,
    access: Access,
    pages: Pages = "",
    fit: Annotated[
        bool, typer.Option("--fit", rich_help_panel=PANEL, help="Shrink files before they are uploaded.")
    ] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, max=UINT32, metavar="N", help="The longest answer, in tokens.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="0 takes the likeliest token.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Sample from the likeliest tokens up to this total probability.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=0, max=UINT32, help="Sample from this many likeliest tokens.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Drop tokens less likely than this share of the likeliest.")
    ] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1 avoids repeating.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=UINT32, help="Makes sampling repeatable.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text; may be repeated.")] = None,
    json_schema: Annotated[
        str | None, typer.Option(metavar="FILE|JSON", help="Answer with JSON that is valid by this schema.")
    ] = None,
    regex: Annotated[str | None, typer.Option(help="Answer with text that this expression matches.")] = None,
    choice: Annotated[list[str] | None, typer.Option(help="Answer with one of these; repeat it.")] = None,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
) -> None:
    """Ask about images. The answer goes to standard output as it comes, its receipt to standard error."""
    from fovea.client import Client, Image, Message, Sampling

    sampling = Sampling.of(
        temperature, top_p, top_k, min_p, repetition_penalty, seed, stop or None, max_new_tokens
    )
    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as client:
        budget = visual.budget()
        sources = named(images, pages, budget)
        parts = [Image(source, name) for name, source in sources]
        answer = client.ask(
            Message("user", [*parts, question]),
            budget=budget,
            sampling=sampling,
            fit=fit,
            response_format=form(json_schema, regex, choice or ()),
            **vars(route),
            on_text=_silent if as_json else _live,
        )
        _print(answer, [name for name, _ in sources], as_json)


def _silent(text: str) -> None:
    """With --json only the object goes to stdout."""


def _live(text: str) -> None:
    sys.stdout.write(clean(text))
    sys.stdout.flush()


def _print(answer: Answer, names: list[str], as_json: bool) -> None:
    if as_json:
        _emit(answer)
    else:
        _print_receipt(answer, names)


def _emit(answer: Answer) -> None:
    emit(
        request_id=answer.request_id,
        answer=answer.text,
        finish_reason=answer.finish_reason,
        matched_stop=answer.matched_stop,
        model=answer.model,
        receipt=answer.receipt.as_json(),
    )


def _print_receipt(answer: Answer, names: list[str]) -> None:
    from fovea.cli.receipts import lines

    sys.stdout.write("\n")
    sys.stdout.flush()
    out = console(stderr=True)
    for line in lines(answer.receipt, names):
        out.print(line, style="dim")
    out.print(f"model   {answer.model}{_ended(answer)}, request {answer.request_id}", style="dim")


def _ended(answer: Answer) -> str:
    """Why the answer was cut off, if it was."""
    from fovea.contract.answer import FinishReason

    if answer.matched_stop:
        return f", stopped before {clean(repr(answer.matched_stop))}"
    return ", cut off at the token limit" if answer.finish_reason is FinishReason.LENGTH else ""
