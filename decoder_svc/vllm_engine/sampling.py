"""Our sampling in vLLM's words."""

from __future__ import annotations

from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from decoder_svc.engine.protocol import ResponseFormat, Sampling


def sampling_params(sampling: Sampling, eos_ids: frozenset[int]) -> SamplingParams:
    """Stop strings stay with us: text is cut by the same code for both engines."""
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
        max_tokens=sampling.max_new_tokens,
        ignore_eos=sampling.ignore_eos,
        stop_token_ids=[] if sampling.ignore_eos else sorted(eos_ids),
        logprobs=0 if sampling.logprobs else None,  # of the chosen token and no other
        structured_outputs=_structured(sampling.response_format),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _structured(format: ResponseFormat | None) -> Any:
    if format is None:
        return None
    if format.kind == "choice":
        return StructuredOutputsParams(choice=list(format.source))
    if format.kind == "regex":
        return StructuredOutputsParams(regex=format.source[0])
    return StructuredOutputsParams(json=format.source[0])
