"""Sides take turns: one that was not asked stands still; answers part only where the reference was undecided."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench import engine, serving
from bench.sides.material import Question, load, save
from bench.sides.openai import Heard
from bench.sides.protocol import Round, Said, Side, SideDied
from decoder_svc.engine.protocol import ImageSpan, Prompt

CHILD = """
import json, sys, time
print(json.dumps({"version": "1", "args": ""}), flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    if not wanted["ask"]:
        sys.exit("nothing was asked")
    with open(sys.argv[1], "a") as ticks:
        said = [{"tokens": [n] * wanted["tokens"], "ttft_ms": 1.0, "gaps": []} for n in wanted["ask"]]
        print(json.dumps({"seconds": 2.0, "said": said}), flush=True)
        for _ in range(200):
            print("tick", file=ticks, flush=True)
            time.sleep(0.005)
"""


def side(folder: Path) -> Side:
    (folder / "ticks").touch()
    return Side("child", [sys.executable, "-c", CHILD, str(folder / "ticks")], {}, folder / "log")


def test_a_side_answers_and_stands_still_between(tmp_path: Path) -> None:
    with side(tmp_path) as child:
        assert child.about == {"version": "1", "args": ""}
        found = child.ask([3, 4], 2)
        assert [said.tokens for said in found.said] == [(3, 3), (4, 4)]
        assert found.tokens_per_s == 2.0
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
    assert engine.is_tie(Said(ours, 0.0), Said((1, 2, 3), 0.0, gaps)) is tie


def rounds(rate: float, ttft: float) -> list[Round]:
    return [Round(10 / rate, (Said((0,) * 10, ttft),)) for _ in range(6)]


def test_the_engine_owes_what_needs_vllm_without_it() -> None:
    found = engine.Found({"native": rounds(50, 10), "generate": rounds(10, 20)})
    measures = engine._measures(found, "standin", 8, 0)
    assert measures["vs_generate"].value == pytest.approx(5)
    assert [name for name, measure in measures.items() if measure.value is None] == [
        "vs_vllm",
        "ttft_vs_vllm",
    ]
    found.rounds["vllm"] = rounds(25, 40)
    measures = engine._measures(found, "standin", 8, 0)
    assert measures["vs_vllm"].value == pytest.approx(2)
    assert measures["ttft_vs_vllm"].value == pytest.approx(0.25)
    assert measures["ttft_vs_vllm"].met


def test_int8_is_held_against_ours_with_weights_as_they_are() -> None:
    found = engine.Found({"native": rounds(50, 10), "generate": rounds(10, 20), "int8": rounds(40, 12)})
    found.resident_mib = {"native": 1000, "int8": 400}
    measures = engine._measures(found, "medium", 8, 0)
    assert measures["int8_tokens"].value == pytest.approx(0.8)
    assert measures["int8_memory"].value == pytest.approx(0.4)
    assert measures["int8_equal"].value == 1


def test_serving_compares_quantiles_of_all_callers() -> None:
    ours, theirs = serving.Rounds(), serving.Rounds()
    for turn in range(6):
        ours.add(1.0, [Heard(10.0 + turn, 30), Heard(20.0, 30)])
        theirs.add(1.0, [Heard(20.0 + 2 * turn, 20), Heard(40.0, 20)])
    measures = serving._measures({8: {"ours": ours, "vllm": theirs}, 1: {"ours": ours}}, 0)
    values = {name: measure.value for name, measure in measures.items()}
    assert values["tokens_vs_vllm"] == pytest.approx(1.5)
    assert values["ttft_p50_vs_vllm"] == values["ttft_p99_vs_vllm"] == pytest.approx(0.5)
    assert values["tokens_vs_vllm_at_1"] is None


def test_material_comes_back_as_it_was(tmp_path: Path) -> None:
    ids = np.array([5, 7, 7, 6], np.int32)
    positions = np.arange(12, dtype=np.int32).reshape(3, 4)
    prompt = Prompt(ids, positions, 9, (ImageSpan(1, (1, 2, 4), 2, key=b"k"),))
    save(tmp_path / "m.npz", [Question(prompt, np.ones((2, 3), np.float32))] * 11)
    found = load(tmp_path / "m.npz")
    assert len(found) == 11
    assert (found[10].image.grid_thw, found[10].image.key, found[10].prompt.next_position) == (
        (1, 2, 4),
        b"k",
        9,
    )
    assert np.array_equal(found[10].prompt.positions, positions)
