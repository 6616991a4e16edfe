"""Our sampling parameters as vLLM's."""

from __future__ import annotations

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from decoder_svc.engine.protocol import Sampling
from decoder_svc.sampling.source import as_lark


def sampling_params(sampling: Sampling, eos_ids: frozenset[int], grammar: str = "") -> SamplingParams:
    """Without stop strings, because our code cuts the text. `grammar` is that of the format, or empty."""
    held = StructuredOutputsParams(grammar=as_lark(grammar)) if grammar else None
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
        structured_outputs=held,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
