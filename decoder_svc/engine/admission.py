"""Checks of a request before it costs anything.

The service uses them to refuse early; the engine repeats them because it trusts no caller. No torch.
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
    """From `least` to `most`; `above` excludes `least`. NaN lies in no range, because it compares false."""

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
    """Check every parameter. Raises InvalidArgument, MaxNewTokensTooLarge or FormatTooLarge."""
    s, most = sampling, limits.max_stop_strings
    ranges = [(name, range_, getattr(s, name)) for name, range_ in _RANGES.items()]
    wrong = [(name, str(range_), f"{value:.6g}") for name, range_, value in ranges if value not in range_]
    wrong += [
        (name, expected, actual)
        for name, valid, expected, actual in (
            ("top_k", s.top_k >= 0, "0 (off) or positive", str(s.top_k)),
            ("seed", s.seed is None or s.seed >= 0, "not negative", str(s.seed)),
            ("stop", all(s.stop), "without empty strings", "with one"),
            ("stop", len(s.stop) <= most, f"at most {most}", str(len(s.stop))),
            ("max_new_tokens", s.max_new_tokens >= 1, "positive", str(s.max_new_tokens)),
            ("ignore_eos", not (s.ignore_eos and s.response_format), "off with a response_format", "on"),
        )
        if not valid
    ]
    if wrong:
        raise _out_of_range(wrong)
    if s.max_new_tokens > limits.max_new_tokens:
        raise MaxNewTokensTooLarge(limits.max_new_tokens, s.max_new_tokens)
    if s.response_format is not None:
        check_format_size(s.response_format, limits.max_format_bytes)


def _out_of_range(wrong: Sequence[tuple[str, str, str]]) -> InvalidArgument:
    """From (parameter, expected, actual). The metadata describes the first."""
    violations = [Violation(f"sampling.{n}", f"must be {expected}, not {got}") for n, expected, got in wrong]
    text = "; ".join(f"{v.field} {v.description}" for v in violations)
    _, expected, got = wrong[0]
    return InvalidArgument(text, violations=violations, field=violations[0].field, limit=expected, actual=got)


def check_format_size(wanted: ResponseFormat, limit: int) -> None:
    """Raises InvalidArgument for an empty format, FormatTooLarge for a large format."""
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
    """Every check that needs no engine. Raises what the checks below raise."""
    check_sampling(request.sampling, limits)
    check_context(len(request.prompt.token_ids), request.sampling, limits)
    check_prompt(request.prompt, shape)
    check_rows(request.prompt, streams, layout, shape)


def check_context(prompt_tokens: int, sampling: Sampling, limits: EngineLimits) -> None:
    """Raises ContextTooLong unless the prompt and the longest possible answer fit the context."""
    if prompt_tokens + sampling.max_new_tokens > limits.max_context:
        raise ContextTooLong(limits.max_context, prompt_tokens, sampling.max_new_tokens)


def check_prompt(prompt: Prompt, shape: ModelShape) -> None:
    """Raises InvalidArgument or RowsMismatch unless images and placeholders match, in order."""
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
    """Raises ImagesMismatch or RowsMismatch unless each image has a stream that the model can read."""
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
