"""`fovea ask`: asks a question about images, streams the answer, then prints its cost."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.form import form
from fovea.cli.images import Pages, named
from fovea.cli.options import (
    DECODER,
    DECODER_HINT,
    Access,
    DecoderAddress,
    Json,
    Route,
    takes_access,
    takes_route,
)
from fovea.cli.output import clean, console, emit, reported
from fovea.cli.sampling import SamplingFlags, takes_sampling
from fovea.cli.visual import PANEL, Visual, takes_visual
from fovea.contract.errors import FoveaError

if TYPE_CHECKING:
    from fovea.client import Answer, Client

NOTICE_S = 5.0
"""Seconds for GetServerInfo, once the answer is complete."""


@takes_access
@takes_route
@takes_sampling
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
    flags: SamplingFlags,
    route: Route,
    access: Access,
    pages: Pages = "",
    fit: Annotated[
        bool, typer.Option("--fit", rich_help_panel=PANEL, help="Shrink files before they are uploaded.")
    ] = False,
    json_schema: Annotated[
        str | None, typer.Option(metavar="FILE|JSON", help="Answer with JSON that is valid by this schema.")
    ] = None,
    regex: Annotated[str | None, typer.Option(help="Answer with text that this expression matches.")] = None,
    choice: Annotated[list[str] | None, typer.Option(help="Answer with one of these; repeat it.")] = None,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
) -> None:
    """Ask about images. The answer goes to standard output as it comes, its receipt to standard error."""
    from fovea.client import Client, Image, Message

    sampling = flags.sampling()
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
    if not as_json:
        _print_receipt(answer, [name for name, _ in sources])
    notice = _notice(Client(decoder, access.token, timeout_s=NOTICE_S, tls=access.tls()))
    if as_json:
        _emit(answer, notice)
    elif notice:
        console(stderr=True).print(f"note    {clean(notice)}")


def _silent(text: str) -> None:
    """With --json only the object goes to stdout."""


def _live(text: str) -> None:
    sys.stdout.write(clean(text))
    sys.stdout.flush()


def _notice(client: Client) -> str:
    """What the decoder's model wants readers to know. The answer is complete without it."""
    with client, suppress(FoveaError):
        return str(client.info().details.get("model_notice", ""))
    return ""


def _emit(answer: Answer, notice: str) -> None:
    emit(
        request_id=answer.request_id,
        answer=answer.text,
        reasoning=answer.reasoning,
        finish_reason=answer.finish_reason,
        matched_stop=answer.matched_stop,
        model=answer.model,
        model_notice=notice,
        receipt=answer.receipt.as_json(),
    )


def _print_receipt(answer: Answer, names: list[str]) -> None:
    from fovea.cli.receipts import lines

    sys.stdout.write("\n")
    sys.stdout.flush()
    out = console(stderr=True)
    if answer.reasoning:
        out.print(clean(answer.reasoning), style="dim", markup=False)
    for line in lines(answer.receipt, names):
        out.print(line, style="dim")
    out.print(f"model   {answer.model}{_ended(answer)}, request {answer.request_id}", style="dim")


def _ended(answer: Answer) -> str:
    """Why the answer was cut off, if it was."""
    from fovea.contract.answer import FinishReason

    if answer.matched_stop:
        return f", stopped before {clean(repr(answer.matched_stop))}"
    return ", cut off at the token limit" if answer.finish_reason is FinishReason.LENGTH else ""
