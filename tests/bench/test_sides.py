"""Sides take turns and are suspended in between. Answers differ only at ties of the reference."""

from __future__ import annotations

import pickle  # noqa: TID251  our own bytes
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench import engine, serving
from bench.host import ROOT
from bench.sides.side import Answer, Question, Round, Side, SideDied
from decoder_svc.engine.protocol import ImageSpan, Prompt

CHILD = """
import sys, time
from multiprocessing.connection import Connection
from bench.sides.side import Answer, Round
pipe = Connection(int(sys.argv[2]))
pipe.send({"version": "1", "args": ""})
while True:
    questions, tokens, gaps = pipe.recv()
    if not questions:
        sys.exit("nothing was asked")
    with open(sys.argv[1], "a") as ticks:
        ids = [question.prompt.next_position for question in questions]
        pipe.send(Round(2.0, [Answer.of([n] * tokens, 0.001) for n in ids]))
        for _ in range(200):
            print("tick", file=ticks, flush=True)
            time.sleep(0.005)
"""


def side(folder: Path) -> Side:
    (folder / "ticks").touch()
    environ = {"PYTHONPATH": str(ROOT)}
    return Side("child", [sys.executable, "-c", CHILD, str(folder / "ticks")], environ, folder / "log")


def question(number: int) -> Question:
    """A question that the other side recognises by its number."""
    ids, positions = np.array([5, 7, 7, 6], np.int32), np.arange(12, dtype=np.int32).reshape(3, 4)
    prompt = Prompt(ids, positions, number, (ImageSpan(1, (1, 2, 4), 2, key=b"k"),))
    return Question(prompt, np.ones((2, 3), np.float32))


def test_a_side_is_suspended_between_requests(tmp_path: Path) -> None:
    with side(tmp_path) as child:
        assert child.description == {"version": "1", "args": ""}
        timed = child.ask([question(3), question(4)], 2)
        assert [answer.tokens for answer in timed.answers] == [(3, 3), (4, 4)]
        assert (timed.tokens_per_s, timed.ttft_ms) == (2.0, [1.0, 1.0])
        assert 1 < child.resident_mib < 1000
        time.sleep(0.05)
        before = (tmp_path / "ticks").stat().st_size
        time.sleep(0.15)
        assert (tmp_path / "ticks").stat().st_size == before < 200 * len("tick\n")


def test_a_side_that_dies_is_named_with_its_last_lines(tmp_path: Path) -> None:
    with side(tmp_path) as child, pytest.raises(SideDied, match=r"child.*\n.*nothing was asked"):
        child.ask([], 2)


@pytest.mark.parametrize(
    ("ours", "gaps", "tie"),
    [
        ((1, 2, 3), (1.0, 1.0, 1.0), True),
        ((1, 9, 3), (1.0, 1e-5, 1.0), True),
        ((1, 9, 3), (1e-5, 1.0, 1e-5), False),
    ],
)
def test_a_tie_is_where_the_reference_was_undecided(
    ours: tuple[int, ...], gaps: tuple[float, ...], tie: bool
) -> None:
    assert engine.is_tie(Answer.of(ours, 0.0), Answer.of((1, 2, 3), 0.0, gaps)) is tie


def rounds(rate: float, ttft: float) -> list[Round]:
    return [Round(10 / rate, (Answer(10, ttft, (0,) * 10),)) for _ in range(6)]


def test_the_engine_owes_what_needs_vllm_without_it() -> None:
    times = engine.Times({"native": rounds(50, 10), "generate": rounds(10, 20)})
    measures = engine.measures(times, "standin", 8, 0)
    assert measures["vs_generate"].value == pytest.approx(5)
    assert [name for name, measure in measures.items() if measure.value is None] == [
        "vs_vllm",
        "ttft_vs_vllm",
    ]
    times.rounds["vllm"] = rounds(25, 40)
    measures = engine.measures(times, "standin", 8, 0)
    assert measures["vs_vllm"].value == pytest.approx(2)
    assert measures["ttft_vs_vllm"].value == pytest.approx(0.25)
    assert measures["ttft_vs_vllm"].met


def test_int8_is_compared_with_our_fp32_weights() -> None:
    times = engine.Times({"native": rounds(50, 10), "generate": rounds(10, 20), "int8": rounds(40, 12)})
    times.resident_mib = {"native": 1000, "int8": 400}
    measures = engine.measures(times, "medium", 8, 0)
    assert measures["int8_tokens"].value == pytest.approx(0.8)
    assert measures["int8_memory"].value == pytest.approx(0.4)
    assert measures["int8_equal"].value == 1


def test_serving_compares_quantiles_of_all_callers() -> None:
    ours = [Round(1.0, [Answer(30, 10.0 + turn), Answer(30, 20.0)]) for turn in range(6)]
    theirs = [Round(1.0, [Answer(20, 20.0 + 2 * turn), Answer(20, 40.0)]) for turn in range(6)]
    measures = serving.measures({8: {"ours": ours, "vllm": theirs}, 1: {"ours": ours}}, 0)
    values = {name: measure.value for name, measure in measures.items()}
    assert values["tokens_vs_vllm"] == pytest.approx(1.5)
    assert values["ttft_p50_vs_vllm"] == values["ttft_p99_vs_vllm"] == pytest.approx(0.5)
    assert values["tokens_vs_vllm_at_1"] is None


def test_questions_reach_a_side_unchanged(tmp_path: Path) -> None:
    sent = [question(9)] * 11
    got = pickle.loads(pickle.dumps(sent))  # noqa: S301
    assert len(got) == 11
    assert (got[10].image.grid_thw, got[10].image.key, got[10].prompt.next_position) == ((1, 2, 4), b"k", 9)
    assert np.array_equal(got[10].prompt.positions, sent[10].prompt.positions)
    assert np.array_equal(got[10].rows, sent[10].rows)
