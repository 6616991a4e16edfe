"""A calibration: the scales and the threshold of a tier, and what they were made from. A JSON file.

`fovea calibrate` writes it, the decoder reads it at start. It is valid for one tier as it was then: its
checkpoint, visual budget and quantization, all in a fingerprint. Answers of another model mean another
confidence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fovea.calibration.answers import AnswerType, type_of
from fovea.calibration.confidence import Scale, confidence
from fovea.calibration.threshold import Measure
from fovea.contract.errors import InvalidArgument
from fovea.contract.sampling import ResponseFormat

FORMAT = 1
SCALE = {field.name for field in fields(Scale)}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class CalibrationInvalid(InvalidArgument):
    """A calibration file that cannot be used. The message names the file and the problem."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"calibration {path}: {problem}", path=str(path))


@dataclass(frozen=True)
class Counts:
    """Labelled questions, and of the kept answers: how many are right, and disagree with the reference.

    Both counts of the reference are 0 if it was not asked; `compared` is then 0 too.
    """

    questions: int
    kept: int
    right: int
    compared: int = 0
    reference_right: int = 0
    disagreed: int = 0


@dataclass(frozen=True)
class Calibration:
    """`model` and `reference` are fingerprints of tiers, `data` is the digest of the labelled questions.

    `reference` is empty if the reference was not asked. `path` is where the file was read from.
    """

    tier: str
    model: str
    reference: str
    measure: Measure
    wanted: float
    threshold: float
    scales: Mapping[AnswerType, Scale]
    counts: Counts
    data: str
    path: Path = Path()

    def confidence(
        self, text: str, logprobs: Sequence[float], response_format: ResponseFormat | None
    ) -> float:
        """The calibrated probability that an answer is right."""
        return confidence(self.scales, logprobs, type_of(text, response_format))

    def check_made_for(self, model: str, reference: str) -> None:
        """Raises CalibrationInvalid for another model, or another reference."""
        for what, made, actual in (("tier", self.model, model), ("reference", self.reference, reference)):
            if made and made != actual:
                problem = (
                    f"was made for another {what} ({made[:19]}, now {actual[:19]}): its checkpoint,"
                    " quantization or visual budget has changed; make it anew"
                )
                raise CalibrationInvalid(self.path, problem)

    @property
    def silent_errors(self) -> tuple[int, int]:
        """Kept answers that the reference contradicted, of how many; by their labels if it was not asked."""
        counts = self.counts
        if counts.compared:
            return counts.disagreed, counts.compared
        return counts.kept - counts.right, counts.kept

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)

    def as_json(self) -> dict[str, Any]:
        scales = {kind.value: asdict(scale) for kind, scale in self.scales.items()}
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "path"}
        counts = asdict(self.counts)
        return {
            "format": FORMAT,
            **own,
            "measure": self.measure.value,
            "scales": scales,
            "counts": counts,
        }


def load_calibration(path: Path) -> Calibration:
    """Raises CalibrationInvalid."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CalibrationInvalid(path, f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CalibrationInvalid(path, "is not JSON") from None
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise CalibrationInvalid(path, f"is not a calibration of format {FORMAT}; make it anew")
    try:
        return _checked(_decoded(value, path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationInvalid(path, f"{error or type(error).__name__}; make it anew") from None


def _decoded(value: dict[str, Any], path: Path) -> Calibration:
    scales = {AnswerType(kind): _scale(scale) for kind, scale in value.pop("scales").items()}
    measure, counts = Measure(value.pop("measure")), Counts(**value.pop("counts"))
    return Calibration(measure=measure, scales=scales, counts=counts, path=path, **value)


def _scale(value: dict[str, float]) -> Scale:
    if value.keys() != SCALE:
        raise ValueError("a scale has not exactly a slope and an intercept")
    return Scale(**value)


def _checked(made: Calibration) -> Calibration:
    """Raises ValueError or TypeError. A threshold that is not a number would keep every answer."""
    numbers = [made.threshold, made.wanted, *(n for s in made.scales.values() for n in asdict(s).values())]
    if not all(isinstance(number, float | int) and math.isfinite(number) for number in numbers):
        raise ValueError("a number is missing or not finite")
    if not (0 <= made.threshold <= 1 and 0 < made.wanted <= 1):
        raise ValueError("threshold or wanted accuracy is outside of 0 to 1")
    if not made.scales:
        raise ValueError("no scale of any type of answer")
    if any(scale.slope < 0 for scale in made.scales.values()):
        raise ValueError("a slope is negative")
    counts = made.counts
    if not all(isinstance(count, int) and count >= 0 for count in asdict(counts).values()):
        raise ValueError("a count is not a whole number")
    if counts.right > counts.kept or max(counts.reference_right, counts.disagreed) > counts.compared:
        raise ValueError("a count is larger than its total")
    if not all(_DIGEST.fullmatch(digest) for digest in (made.model, made.data)):
        raise ValueError("a fingerprint is not sha256: and 64 hexadecimal digits")
    return made
