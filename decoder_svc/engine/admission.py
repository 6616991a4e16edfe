"""Checks of a request before it costs anything.

The service uses them to refuse early; the engine repeats them because it trusts no caller. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from decoder_svc.engine.protocol import (
    MAX_BIAS,
    MAX_BIASES,
    MAX_COUNT_PENALTY,
    MAX_PENALTY,
    MAX_TEMPERATURE,
    MAX_TOP_LOGPROBS,
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

_TEMPERATURES = f"between 0 and {MAX_TEMPERATURE:.6g}"
_PENALTIES = f"between {MIN_PENALTY:.6g} and {MAX_PENALTY:.6g}"
_COUNT_PENALTIES = f"between {-MAX_COUNT_PENALTY:.6g} and {MAX_COUNT_PENALTY:.6g}"
_TOP_LOGPROBS = f"between 0 and {MAX_TOP_LOGPROBS}"
_PATHS = {"top_logprobs": "logprobs.top"}
"""Fields of the request whose path is not `sampling.` and the name of the parameter."""


def check_sampling(sampling: Sampling, limits: EngineLimits, vocab_size: int) -> None:
    """Raises InvalidArgument, MaxNewTokensTooLarge or FormatTooLarge. NaN is invalid: it compares false."""
    s, most, count = sampling, limits.max_stop_strings, MAX_COUNT_PENALTY
    wrong = [
        (_PATHS.get(name, f"sampling.{name}"), expected, actual or f"{getattr(s, name):.6g}")
        for name, valid, expected, actual in (
            ("temperature", 0 <= s.temperature <= MAX_TEMPERATURE, _TEMPERATURES, ""),
            ("top_p", 0 < s.top_p <= 1, "above 0 and at most 1", ""),
            ("min_p", 0 <= s.min_p <= 1, "between 0 and 1", ""),
            ("repetition_penalty", MIN_PENALTY <= s.repetition_penalty <= MAX_PENALTY, _PENALTIES, ""),
            ("presence_penalty", -count <= s.presence_penalty <= count, _COUNT_PENALTIES, ""),
            ("frequency_penalty", -count <= s.frequency_penalty <= count, _COUNT_PENALTIES, ""),
            ("top_logprobs", 0 <= s.top_logprobs <= MAX_TOP_LOGPROBS, _TOP_LOGPROBS, str(s.top_logprobs)),
            ("top_k", s.top_k >= 0, "0 (off) or positive", str(s.top_k)),
            ("seed", s.seed is None or s.seed >= 0, "not negative", str(s.seed)),
            ("stop", all(s.stop), "without empty strings", "with one"),
            ("stop", len(s.stop) <= most, f"at most {most}", str(len(s.stop))),
            ("max_new_tokens", s.token_limit >= 1, "positive", str(s.token_limit)),
            ("ignore_eos", not (s.ignore_eos and s.response_format), "off with a response_format", "on"),
        )
        if not valid
    ]
    if wrong:
        raise _out_of_range(wrong)
    _check_biases(s.logit_bias, vocab_size)
    if s.token_limit > limits.max_new_tokens:
        raise MaxNewTokensTooLarge(limits.max_new_tokens, s.token_limit)
    if s.response_format is not None:
        check_format_size(s.response_format, limits.max_format_bytes)


def _out_of_range(wrong: Sequence[tuple[str, str, str]]) -> InvalidArgument:
    """The error for parameters as (path, expected, actual). The metadata describes the first."""
    violations = [Violation(path, f"must be {expected}, not {got}") for path, expected, got in wrong]
    text = "; ".join(f"{v.field} {v.description}" for v in violations)
    _, expected, got = wrong[0]
    return InvalidArgument(text, violations=violations, field=violations[0].field, limit=expected, actual=got)


def _check_biases(biases: Mapping[int, float], vocab_size: int) -> None:
    if len(biases) > MAX_BIASES:
        raise _out_of_range([("sampling.logit_bias", f"at most {MAX_BIASES} entries", str(len(biases)))])
    wrong = [
        (f"sampling.logit_bias[{token}]", expected, actual)
        for token, bias in biases.items()
        for valid, expected, actual in (
            (0 <= token < vocab_size, f"of a token id below {vocab_size}", str(token)),
            (-MAX_BIAS <= bias <= MAX_BIAS, f"between {-MAX_BIAS:.6g} and {MAX_BIAS:.6g}", f"{bias:.6g}"),
        )
        if not valid
    ]
    if wrong:
        raise _out_of_range(wrong)


def check_format_size(wanted: ResponseFormat, limit: int) -> None:
    """Raises InvalidArgument for an empty format, FormatTooLarge for a large format."""
    field = wanted.field
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
    """Raises ContextTooLong if the longest answer does not fit, and what the other checks raise."""
    check_sampling(request.sampling, limits, shape.vocab_size)
    tokens, answer = len(request.prompt.token_ids), request.sampling.token_limit
    if tokens + answer > limits.max_context:
        raise ContextTooLong(limits.max_context, tokens, answer)
    check_prompt(request.prompt, shape)
    check_rows(request.prompt, streams, layout, shape)


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
