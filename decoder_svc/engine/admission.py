"""What a request may ask for, checked before it costs anything.

Shared by the service, which refuses early, and the engine, which trusts nobody. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decoder_svc.engine.protocol import (
    MAX_PENALTY,
    MAX_TEMPERATURE,
    MIN_PENALTY,
    EngineLimits,
    EngineRequest,
    ModelShape,
    Prompt,
    ResponseFormat,
    Sampling,
)
from decoder_svc.errors import FormatTooLarge
from fovea.contract.errors import (
    ContextTooLong,
    ImagesMismatch,
    InvalidArgument,
    MaxNewTokensTooLarge,
    RowsMismatch,
    Violation,
)
from fovea.contract.rows import RowLayout


@dataclass(frozen=True)
class _Range:
    """From `least`, itself excluded where `above`, to `most`. NaN is within none: it compares false."""

    least: float
    most: float
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.least < value if self.above else self.least <= value) and value <= self.most

    def __str__(self) -> str:
        if self.above:
            return f"above {self.least:.6g} and at most {self.most:.6g}"
        return f"between {self.least:.6g} and {self.most:.6g}"


_RANGES = {
    "temperature": _Range(0, MAX_TEMPERATURE),
    "top_p": _Range(0, 1, above=True),
    "min_p": _Range(0, 1),
    "repetition_penalty": _Range(MIN_PENALTY, MAX_PENALTY),
}


def check_sampling(sampling: Sampling, limits: EngineLimits) -> None:
    """Every parameter within its range; raises InvalidArgument or MaxNewTokensTooLarge."""
    s = sampling
    wrong = [
        (f"sampling.{name}", str(range_), f"{getattr(s, name):.6g}")
        for name, range_ in _RANGES.items()
        if getattr(s, name) not in range_
    ]
    wrong += [
        (f"sampling.{name}", what, value)
        for name, fine, what, value in (
            ("top_k", s.top_k >= 0, "0 (off) or positive", str(s.top_k)),
            ("seed", s.seed is None or s.seed >= 0, "not negative", str(s.seed)),
            ("stop", all(s.stop), "without empty strings", "with one"),
            (
                "stop",
                len(s.stop) <= limits.max_stop_strings,
                f"at most {limits.max_stop_strings}",
                str(len(s.stop)),
            ),
            ("max_new_tokens", s.max_new_tokens >= 1, "positive", str(s.max_new_tokens)),
            ("ignore_eos", not (s.ignore_eos and s.response_format), "off with a response_format", "on"),
        )
        if not fine
    ]
    if wrong:
        raise _out_of_range(wrong)
    if s.max_new_tokens > limits.max_new_tokens:
        raise MaxNewTokensTooLarge(limits.max_new_tokens, s.max_new_tokens)
    if s.response_format is not None:
        check_format_size(s.response_format, limits.max_format_bytes)


def _out_of_range(wrong: Sequence[tuple[str, str, str]]) -> InvalidArgument:
    """Of (field, what it must be, what it is); the metadata tells of the first."""
    violations = [Violation(field, f"must be {range_}, not {value}") for field, range_, value in wrong]
    field, range_, value = wrong[0]
    text = "; ".join(f"{v.field} {v.description}" for v in violations)
    return InvalidArgument(text, violations=violations, field=field, limit=range_, actual=value)


def check_format_size(wanted: ResponseFormat, limit: int) -> None:
    """Something is asked for, and small enough to be looked at, or InvalidArgument or FormatTooLarge."""
    field = f"response_format.{wanted.kind}"
    if not wanted.source or not all(wanted.source):
        what = "must not be empty"
        raise InvalidArgument(f"{field} {what}", violations=[Violation(field, what)])
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in wanted.source)
    if size > limit:
        raise FormatTooLarge(field, limit, size)


def check_request(
    request: EngineRequest,
    streams: Sequence[object],
    layout: RowLayout | None,
    limits: EngineLimits,
    shape: ModelShape,
) -> None:
    """Every check of a request that needs no engine. Each check names what it raises."""
    check_sampling(request.sampling, limits)
    check_context(len(request.prompt.token_ids), request.sampling, limits)
    check_prompt(request.prompt, shape)
    check_rows(request.prompt, streams, layout, shape)


def check_context(prompt_tokens: int, sampling: Sampling, limits: EngineLimits) -> None:
    """Prompt and the longest possible answer fit the context, or ContextTooLong."""
    if prompt_tokens + sampling.max_new_tokens > limits.max_context:
        raise ContextTooLong(limits.max_context, prompt_tokens, sampling.max_new_tokens)


def check_prompt(prompt: Prompt, shape: ModelShape) -> None:
    """Every placeholder belongs to an image and every image has its placeholders, in order."""
    ids = prompt.token_ids
    if ids.ndim != 1 or len(ids) == 0 or prompt.positions.shape != (3, len(ids)):
        raise InvalidArgument("a prompt needs token ids (L,) and positions (3, L), L at least 1")
    if ids.min() < 0 or ids.max() >= shape.vocab_size:
        raise InvalidArgument(f"token ids must be below {shape.vocab_size}", limit=shape.vocab_size)
    end = 0
    for number, image in enumerate(prompt.images):
        inside = end <= image.start < image.end <= len(ids)
        if not inside or not np.all(ids[image.start : image.end] == shape.image_token_id):
            raise RowsMismatch(f"image {number} does not stand on its placeholders", image=number)
        end = image.end
    placeholders = int(np.count_nonzero(ids == shape.image_token_id))
    if placeholders != prompt.visual_tokens:
        raise RowsMismatch(
            f"the prompt has {placeholders} placeholders for {prompt.visual_tokens} rows",
            placeholders=placeholders,
            rows=prompt.visual_tokens,
        )


def check_rows(
    prompt: Prompt, streams: Sequence[object], layout: RowLayout | None, shape: ModelShape
) -> None:
    """One stream an image, in a layout that the model takes."""
    if len(streams) != len(prompt.images):
        raise ImagesMismatch(len(prompt.images), len(streams))
    if streams and layout is None:
        raise RowsMismatch("rows without a layout")
    if layout is not None and (layout.width, layout.levels) != (shape.width, shape.levels):
        raise RowsMismatch(
            f"rows of {layout.width} x {1 + layout.levels}, "
            f"the model takes {shape.width} x {1 + shape.levels}",
            width=layout.width,
            levels=layout.levels,
        )
