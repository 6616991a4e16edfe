"""Reasoning and text of an answer are told apart, however the answer is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder_svc.engine.protocol import Reasoning
from decoder_svc.parsing.reasoning import ReasoningSplitter

WRITTEN = st.lists(
    st.sampled_from(
        ("<think>", "</think>", "<thi", "nk>", "</", "\n", " ", "a", "Well.", "<tool_call>", "<")
    ),
    max_size=8,
).map("".join)


def split(answer: str, reasoning: Reasoning, pieces: int = 1) -> tuple[str, str]:
    """Reasoning and text of an answer that comes in pieces of this length."""
    splitter = ReasoningSplitter(reasoning)
    parts = [splitter.push(answer[at : at + pieces]) for at in range(0, len(answer), pieces)]
    parts.append(splitter.finish())
    return "".join(p.reasoning for p in parts), "".join(p.text for p in parts)


@pytest.mark.parametrize("pieces", [1, 3, 1000])
@pytest.mark.parametrize(
    ("answer", "reasoning", "expected"),
    [
        ("Let me see.\n</think>\n\nRed.", "opened", ("Let me see.", "Red.")),
        ("\nA\n\nB\n\n</think>Red", "opened", ("A\n\nB", "Red")),
        ("A</think>\n\n\nRed", "opened", ("A", "\nRed")),
        ("cut", "opened", ("cut", "")),
        ("cut </thi", "opened", ("cut </thi", "")),
        ("cut\n", "opened", ("cut", "")),
        ("A</think>B</think>C", "opened", ("A", "B</think>C")),
        ("</think>\n\nRed", "opened", ("", "Red")),
        ("<think>\nA\n</think>\n\nRed", "optional", ("A", "Red")),
        ("\n<think>A</think>Red", "optional", ("A", "Red")),
        ("Red <think>A</think>", "optional", ("", "Red <think>A</think>")),
        ("<thin", "optional", ("", "<thin")),
        ("\n\nRed", "optional", ("", "\n\nRed")),
        ("<think>A</think>Red\n", "none", ("", "<think>A</think>Red\n")),
    ],
)
def test_reasoning_is_split(
    answer: str, reasoning: Reasoning, expected: tuple[str, str], pieces: int
) -> None:
    assert split(answer, reasoning, pieces) == expected


@given(answer=WRITTEN, reasoning=st.sampled_from(("none", "optional", "opened")), pieces=st.integers(1, 9))
def test_the_pieces_do_not_matter(answer: str, reasoning: Reasoning, pieces: int) -> None:
    assert split(answer, reasoning, pieces) == split(answer, reasoning, 1000)


@given(answer=WRITTEN)
def test_an_answer_without_reasoning_passes_as_it_is(answer: str) -> None:
    splitter = ReasoningSplitter("none")
    assert splitter.push(answer).text == answer
    assert splitter.finish().text == ""
