"""`fovea calibrate`: when a model tier may keep its answers, from labelled questions to a running decoder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.options import DECODER, DECODER_HINT, Access, DecoderAddress, Json, takes_access
from fovea.cli.output import emit, reported

if TYPE_CHECKING:
    from fovea.calibration.calibration import Calibration
    from fovea.calibration.making import GivenAnswer, Unseen
    from fovea.calibration.questions import Question
    from fovea.client import Client


class By(StrEnum):
    """Equal to the measures of a calibration, which are not imported for `--help`."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


@takes_access
def calibrate(
    questions: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="JSON lines: image (a path or an id), question, answer; choices if any."
        ),
    ],
    access: Access,
    tier: Annotated[str, typer.Option("--tier", metavar="NAME", help="The tier to calibrate.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The calibration to write.")],
    accuracy: Annotated[
        float, typer.Option("--accuracy", min=0.0, max=1.0, help="The wanted accuracy of kept answers.")
    ] = 0.99,
    measure: Annotated[
        By,
        typer.Option(
            "--measure",
            help="absolute: the share of kept answers that are right. relative: their right answers for each"
            " right answer of the reference to the same questions.",
        ),
    ] = By.RELATIVE,
    reference: Annotated[
        str,
        typer.Option("--reference", metavar="NAME", help="The tier to compare with; the last by default."),
    ] = "",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Questions at a time.")] = 8,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
) -> None:
    """Ask a tier and its reference labelled questions, and write when the tier may keep its answers."""
    from fovea.calibration.making import Sheet, cross_validated, make_calibration
    from fovea.calibration.questions import digest_of_questions, read_questions
    from fovea.calibration.threshold import Measure
    from fovea.client import Client

    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as client:
        listed = read_questions(questions)
        data = digest_of_questions(listed)
        model, other, other_model = _tiers(client, tier, reference)
        answers = _answers(client, listed, tier, concurrency)
        sheet = Sheet(listed, answers, _answers(client, listed, other, concurrency))
        wanted = Measure(measure.value)
        made = make_calibration(tier, model, other_model, sheet, accuracy, wanted, data)
        unseen = cross_validated(sheet, accuracy, wanted)
        made.save(out)
    if as_json:
        emit(calibration=made.as_json(), unseen=vars(unseen))
    else:
        typer.echo("\n".join(_lines(made, other, unseen, out)))


def _tiers(client: Client, tier: str, reference: str) -> tuple[str, str, str]:
    """The fingerprint of the tier, the name of the reference, and its fingerprint."""
    from fovea.contract.errors import InvalidArgument

    tiers = {each["name"]: each for each in client.info().details.get("tiers", ())}
    reference = reference or next(reversed(tiers), "")
    for option, name in (("--tier", tier), ("--reference", reference)):
        if not tiers.get(name, {}).get("fingerprint"):
            known = ", ".join(name for name, each in tiers.items() if each.get("fingerprint")) or "none"
            raise InvalidArgument.of_field(option, f"{name} is no tier with a model there; it has {known}")
    if tier == reference:
        raise InvalidArgument.of_field("--reference", f"{reference} is the tier itself")
    return tiers[tier]["fingerprint"], reference, tiers[reference]["fingerprint"]


def _answers(client: Client, questions: Sequence[Question], tier: str, concurrency: int) -> list[GivenAnswer]:
    """The greedy answers of a tier, in order. The first failure ends the run."""
    from fovea.calibration.making import GivenAnswer
    from fovea.contract.answer import FinishReason

    def ask(question: Question) -> GivenAnswer:
        wanted = question.response_format
        answer = client.ask(
            question.text, list(question.images), tier=tier, logprobs=True, response_format=wanted
        )
        return GivenAnswer(answer.text, answer.logprobs, answer.finish_reason is not FinishReason.STOP)

    with ThreadPoolExecutor(concurrency) as threads:
        futures = [threads.submit(ask, question) for question in questions]
        try:
            return [future.result() for future in futures]
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _lines(made: Calibration, reference: str, unseen: Unseen, out: Path) -> list[str]:
    counts = made.counts
    escalated = 1 - counts.kept / counts.questions
    lines = [
        f"{made.tier} keeps answers of confidence {made.threshold:.4f} and more:"
        f" {counts.kept} of {counts.questions}, {escalated:.1%} escalate",
        f"of the kept answers {counts.right} are right; {reference} has {counts.reference_right} right"
        f" and contradicts {counts.disagreed}",
    ]
    if unseen.kept:
        lines.append(
            f"on questions left out in turn it keeps {unseen.kept}, of which {unseen.right / unseen.kept:.1%}"
            f" are right; {reference} has {unseen.reference_right / unseen.kept:.1%}"
        )
    return [*lines, f"written to {out}"]
