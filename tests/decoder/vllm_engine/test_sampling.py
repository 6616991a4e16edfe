"""Translation of our sampling to vLLM's parameters, without vLLM."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from llguidance import LLMatcher

from decoder_svc.engine.protocol import (
    MIN_TEMPERATURE,
    AnswerRules,
    CallableTool,
    ResponseFormat,
    Sampling,
    Wanted,
)
from decoder_svc.sampling.source import grammar_source
from decoder_svc.sampling.trie import TokenSet
from decoder_svc.vllm_engine import plugin
from standin import model_dir


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


@pytest.fixture(scope="module")
def tokens() -> TokenSet:
    return TokenSet(model_dir(), 1024, frozenset((999, 1001)))


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        (ResponseFormat("choice", ("start: a", "start: b")), "start: a"),
        (ResponseFormat("regex", ("a+\nstart: ",)), "aa\nstart: "),
        (ResponseFormat("json_schema", ('{"const": "start: a"}',)), '"start: a"'),
        (AnswerRules(tools=(CallableTool("a", "", "tools[0].parameters"),)), "start: a"),
        (AnswerRules("opened", format=ResponseFormat("choice", ("b",))), "a</think>\n\nb"),
    ],
    ids=["choice", "regex", "json", "tools", "reasoning"],
)
def test_a_format_is_passed_on_as_the_grammar_that_was_tried(
    sampling_params: Any, tokens: TokenSet, wanted: Wanted, answer: str
) -> None:
    params = sampling_params(Sampling(), tokens.eos_ids, grammar_source(wanted.kind, wanted.source))
    tokenizer = tokens.load()
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(params.structured_outputs.grammar))
    assert matcher.consume_tokens(tokenizer.tokenize_str(answer))
    assert matcher.is_accepting()


def test_llguidance_takes_our_tokens_in_processes_of_vllm(
    monkeypatch: pytest.MonkeyPatch, tokens: TokenSet
) -> None:
    vllm = ModuleType("vllm")
    vllm.ModelRegistry = SimpleNamespace(register_model=lambda *_: None)  # type: ignore[attr-defined]
    hf = ModuleType("llguidance.hf")  # the real one needs transformers
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "llguidance.hf", hf)
    monkeypatch.setattr("llguidance.hf", hf, raising=False)
    monkeypatch.delenv(plugin.TOKENS, raising=False)
    plugin.register()
    assert not hasattr(hf, "from_tokenizer"), "a vLLM that serves other models keeps its own"
    monkeypatch.setenv(plugin.TOKENS, tokens.packed())
    plugin.register()
    assert hf.from_tokenizer("a tokenizer", 1024).eos_tokens == sorted(tokens.eos_ids)
