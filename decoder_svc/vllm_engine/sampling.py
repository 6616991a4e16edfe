"""Our sampling parameters as vLLM's."""

from __future__ import annotations

import json
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from decoder_svc.engine.protocol import Sampling, Wanted


def sampling_params(
    sampling: Sampling, eos_ids: frozenset[int], wanted: Wanted | None = None, grammar: str = ""
) -> SamplingParams:
    """Without stop strings, because our code cuts the text. `grammar` is the source of `wanted`, as tried."""
    return SamplingParams(
        temperature=0.0 if sampling.is_greedy else sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=dict(sampling.logit_bias) or None,
        seed=sampling.seed,
        max_tokens=sampling.token_limit,
        ignore_eos=sampling.ignore_eos,
        stop_token_ids=[] if sampling.ignore_eos else sorted(eos_ids),
        logprobs=sampling.top_logprobs,  # the chosen token's always: it reveals values that are not finite
        structured_outputs=_structured(wanted or sampling.response_format, grammar),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _structured(format: Wanted | None, grammar: str) -> Any:
    """For vLLM's `guidance` backend (llguidance). Schemas are passed as they were tried, with our rules."""
    if format is None:
        return None
    if format.kind == "rules":
        return StructuredOutputsParams(grammar=json.loads(grammar)["grammars"][0]["lark_grammar"])
    if format.kind == "choice":
        return StructuredOutputsParams(choice=list(format.source))
    if format.kind == "regex":
        return StructuredOutputsParams(regex=format.source[0])
    return StructuredOutputsParams(json=json.dumps(json.loads(grammar)["grammars"][0]["json_schema"]))
