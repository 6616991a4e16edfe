"""Makes a calibration from labelled questions, the answers of the tier, and those of its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fovea.calibration.answers import AnswerType, agree, agrees_with_any, type_of
from fovea.calibration.calibration import Calibration, Counts
from fovea.calibration.confidence import Labelled, Scale, fit_scales, log_odds
from fovea.calibration.questions import Question
from fovea.calibration.threshold import Judged, Kept, Measure, choose
from fovea.contract.errors import InvalidArgument

FOLDS = 5


class AccuracyNotReached(InvalidArgument):
    """No threshold reaches the wanted accuracy on these questions."""

    def __init__(self, wanted: float, measure: Measure, judged: Sequence[Judged]) -> None:
        ranked = sorted(judged, key=lambda each: -each.confidence)
        surest = ranked[: max(1, len(ranked) // 4)]
        share = sum(each.right for each in surest) / len(surest)
        text = (
            f"no threshold reaches {measure} accuracy {wanted:g} by a standard error: of {len(judged)}"
            f" answers the surest {len(surest)} are right in {share:.1%};"
            " lower the accuracy, or give more questions"
        )
        super().__init__(text, wanted=wanted, measure=measure, surest=f"{share:.4f}")


@dataclass(frozen=True)
class GivenAnswer:
    """An answer of a tier. `is_cut` at `max_new_tokens`: the tier would not keep it."""

    text: str
    logprobs: tuple[float, ...] = ()
    is_cut: bool = False


@dataclass(frozen=True)
class Sheet:
    """Questions with the answers of the tier, and of its reference if it was asked."""

    questions: Sequence[Question]
    answers: Sequence[GivenAnswer]
    reference: Sequence[GivenAnswer] | None = None

    def of(self, places: Sequence[int]) -> Sheet:
        """The questions at some places."""
        reference = None if self.reference is None else [self.reference[at] for at in places]
        return Sheet([self.questions[at] for at in places], [self.answers[at] for at in places], reference)

    def scales(self) -> dict[AnswerType, Scale]:
        pairs = zip(self.questions, self.answers, strict=True)
        return fit_scales([_labelled(question, answer) for question, answer in pairs if not answer.is_cut])

    def judged(self, scales: dict[AnswerType, Scale]) -> list[Judged]:
        reference: Sequence[GivenAnswer | None] = self.reference or [None] * len(self.questions)
        each = zip(self.questions, self.answers, reference, strict=True)
        return [_judged(*one, scales) for one in each]


@dataclass(frozen=True)
class Unseen:
    """Kept answers to questions that neither scales nor threshold were made from."""

    questions: int
    kept: int
    right: int
    reference_right: int


def make_calibration(
    tier: str, model: str, reference: str, sheet: Sheet, wanted: float, measure: Measure, data: str
) -> Calibration:
    """Raises AccuracyNotReached."""
    scales = sheet.scales()
    judged = sheet.judged(scales)
    kept = choose(judged, wanted, measure) if scales else None
    if kept is None:
        raise AccuracyNotReached(wanted, measure, judged)
    compared = len(kept.answers) if sheet.reference is not None else 0
    counts = Counts(
        len(judged), len(kept.answers), kept.right, compared, kept.reference_right, kept.disagreed
    )
    return Calibration(tier, model, reference, measure, wanted, kept.threshold, scales, counts, data)


def cross_validated(sheet: Sheet, wanted: float, measure: Measure) -> Unseen:
    """Calibrate on four fifths of the questions and keep answers of the last fifth, for each fifth."""
    kept: list[Judged] = []
    places = range(len(sheet.questions))
    for fold in range(FOLDS):
        learnt = sheet.of([at for at in places if at % FOLDS != fold])
        scales = learnt.scales()
        chosen = choose(learnt.judged(scales), wanted, measure)
        if chosen is not None:
            unseen = sheet.of([at for at in places if at % FOLDS == fold]).judged(scales)
            kept += [each for each in unseen if each.confidence >= chosen.threshold]
    totals = Kept(0.0, kept)
    return Unseen(len(places), len(kept), totals.right, totals.reference_right)


def _labelled(question: Question, answer: GivenAnswer) -> Labelled:
    kind = type_of(answer.text, question.response_format)
    right = agrees_with_any(answer.text, question.accepted)
    return Labelled(kind, log_odds(answer.logprobs, kind), right)


def _judged(
    question: Question,
    answer: GivenAnswer,
    reference: GivenAnswer | None,
    scales: dict[AnswerType, Scale],
) -> Judged:
    labelled = _labelled(question, answer)
    scale = scales.get(labelled.kind)
    sure = scale.confidence(labelled.odds) if scale and not answer.is_cut else 0.0
    if reference is None:
        return Judged(sure, labelled.right)
    by_label = agrees_with_any(reference.text, question.accepted)
    return Judged(sure, labelled.right, by_label, not agree(answer.text, reference.text))
