"""Translation of our sampling to vLLM's parameters, without vLLM."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from decoder_svc.engine.protocol import MIN_TEMPERATURE, Sampling


@pytest.fixture
def sampling_params(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module's function, with a fake vLLM that records its parameters."""
    vllm, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    params.RequestOutputKind = SimpleNamespace(DELTA="delta")  # type: ignore[attr-defined]
    params.StructuredOutputsParams = SimpleNamespace  # type: ignore[attr-defined]
    for module in (vllm, params):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "decoder_svc.vllm_engine.sampling", raising=False)
    yield importlib.import_module("decoder_svc.vllm_engine.sampling").sampling_params
    sys.modules.pop("decoder_svc.vllm_engine.sampling", None)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=1e-45), 0.0),  # vLLM would raise it to 0.01 and draw
        (Sampling(temperature=0.005, top_p=0.5), 0.0),
        (Sampling(temperature=0.9, top_k=1), 0.0),
        (Sampling(temperature=MIN_TEMPERATURE), MIN_TEMPERATURE),
        (Sampling(temperature=0.7), 0.7),
    ],
)
def test_greedy_sampling_is_greedy_in_vllm(sampling_params: Any, sampling: Sampling, expected: float) -> None:
    assert sampling_params(sampling, frozenset({2})).temperature == expected


def test_penalties_biases_and_alternatives_are_passed_on(sampling_params: Any) -> None:
    plain = sampling_params(Sampling(), frozenset({2}))
    assert (plain.presence_penalty, plain.frequency_penalty, plain.logit_bias, plain.logprobs) == (
        0,
        0,
        None,
        0,
    )
    bent = Sampling(presence_penalty=1.5, frequency_penalty=-0.5, logit_bias={7: -100.0}, top_logprobs=5)
    params = sampling_params(bent, frozenset({2}))
    assert (params.presence_penalty, params.frequency_penalty) == (1.5, -0.5)
    assert (params.logit_bias, params.logprobs) == ({7: -100.0}, 5)
