"""What the fault cases share: outcomes are counted from outside, and a case can fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.fault_cases import page
from bench.fault_cases.encoder_silent import detected
from bench.fault_cases.errands import Errands
from bench.fault_cases.load import Outcome, open_loop, peak
from bench.fault_cases.questions import Answers, Question, Questions, Reply
from bench.fault_cases.soak import growth
from bench.fault_cases.trial import failed, failures, tail
from bench.faults import CASES, _counted
from bench.result import Measure
from fovea.contract.errors import EncoderUnavailable, FoveaError, ImageNotStored
from tests.bench.test_commands import run
from tests.bench.test_result import LINE, MEASURE

LOST = {"lost", "p99_ratio", "wrong_answers"}
PROMISED = {
    "encoder-kill": LOST | {"recovery_ms"},
    "encoder-silent": LOST | {"detection_ms"},
    "decoder-kill": {
        "refusal_ms",
        "cut_off",
        "other_errors",
        "wrong_rows",
        "computed_again",
        "wrong_answers",
    },
    "rolling": {"failed_calls", "failed_without_retries", "wrong_answers"},
    "soak": {"unexpected_errors", "wrong_answers", "rss_growth_mib", "files_growth"},
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", PROMISED)
def test_a_case_measures_all_it_promises(case: str) -> None:
    line, status = run("-m", "bench.faults", "--case", case, "--quick", "--check")
    assert set(line) == LINE
    assert set(line["measures"]) >= PROMISED[case]
    assert line["owed"] == []
    for measure in line["measures"].values():
        assert set(measure) == MEASURE
    for name in ("lost", "failed_calls", "wrong_rows", "wrong_answers", "unexpected_errors"):
        assert line["measures"].get(name, {"value": 0})["value"] == 0
    assert status == (0 if line["ok"] else 1)


def outcome(seconds: float = 0.1, code: str = "OK", due: float = 0.0) -> Outcome:
    return Outcome(0, due, due + seconds, code, "" if code == "OK" else "REASON")


async def test_the_open_loop_begins_calls_that_are_due_while_others_run() -> None:
    began, all_began = 0, asyncio.Event()

    async def call(number: int) -> None:
        nonlocal began
        began += 1
        if began == 10:
            all_began.set()
        await all_began.wait()  # a closed loop would wait here for ever
        if number % 2:
            raise EncoderUnavailable("down", retry_after_s=1.0)

    async with asyncio.timeout(30):
        outcomes = await open_loop(call, 1000.0, 0.01)
    assert sorted(each.number for each in outcomes) == list(range(10))
    assert {each.number: each.code for each in outcomes} == {
        number: "UNAVAILABLE" if number % 2 else "OK" for number in range(10)
    }
    assert {(each.reason, each.retry_after_s) for each in outcomes if not each.ok} == {
        ("ENCODER_UNAVAILABLE", 1.0)
    }


async def test_the_open_loop_ends_when_it_is_stopped_and_waits_for_its_calls() -> None:
    stop, ended = asyncio.Event(), 0

    async def call(number: int) -> None:
        nonlocal ended
        if number == 2:
            stop.set()
        await asyncio.sleep(0)
        ended += 1

    async with asyncio.timeout(30):
        outcomes = await open_loop(call, 100.0, float("inf"), stop)
    assert len(outcomes) == ended >= 3


async def test_a_defect_of_a_case_is_no_outcome() -> None:
    async def call(number: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await open_loop(call, 100.0, 0.01)


async def test_the_peak_counts_calls_of_all_workers() -> None:
    running = most = 0

    async def call(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    assert await peak(call, 0.05, 4) > 0
    assert most == 4


def test_a_lost_call_and_a_long_tail_are_not_met() -> None:
    fine, lost = [outcome()] * 100, [outcome(code="UNAVAILABLE")]
    assert (failed(fine).met, failed([*fine, *lost]).met) == (True, False)
    assert (tail(fine, fine).met, tail([outcome(0.4)] * 100, fine).met) == (True, False)
    assert tail([], fine).value is None
    assert tail([outcome(0.4)] * 99, fine).met is None, "a maximum is no p99"
    assert failures([*fine, *lost]) == "1 x UNAVAILABLE REASON"


def test_calls_between_a_silence_and_its_detection_are_counted_apart() -> None:
    calls = [outcome(due=float(second)) for second in range(10)]
    assert [call.due for call in detected(calls, [(2.0, 4.0), (7.5, 8.5)])] == [0, 1, 4, 5, 6, 7, 9]


def test_growth_compares_the_last_tenth_with_the_first() -> None:
    assert growth([100.0] * 10 + [500.0] * 80 + [120.0] * 10) == 20.0
    assert growth([1.0]) == 0.0


class Reference:
    """Gives the same reply to every question."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.stored: list[bytes] = []

    async def put(self, data: bytes) -> None:
        self.stored.append(data)

    async def ask(self, question: Question) -> Reply:
        return self.reply


async def test_every_reply_is_compared_with_the_reference() -> None:
    answers, right = Answers(), Reply("a cat", (1, 2), "sha256:aa")
    question = Question("What?", b"picture")
    for reply in (
        right,
        Reply("a cat", (1, 2), ""),  # the rows were not needed
        Reply("a cat", (1, 2), "sha256:bb"),
        Reply("a dog", (1, 2), "sha256:aa"),
        Reply("a cat", (1, 3), "sha256:aa"),
    ):
        answers.note(question, reply)
    reference: Any = Reference(right)
    assert await answers.wrong(reference, [b"picture"]) == 3
    assert (answers.count, reference.stored) == (5, [b"picture"])


def test_half_of_the_questions_are_new_and_30_percent_name_a_known_picture() -> None:
    questions = Questions(0)
    asked = [questions[number] for number in range(100)]
    known = {Question("", data).digest for data in (*questions.known, *questions.again)}
    new = [question for question in asked if question.digest not in known]
    assert len({question.digest for question in new}) == len(new) == 50
    by_id = [question for question in asked if question.by_id]
    assert len(by_id) == 30
    assert {question.digest for question in by_id} <= {Question("", data).digest for data in questions.known}
    images = [question.request().messages[0].parts[0].image for question in asked]
    assert [bool(image.digest) for image in images] == [question.by_id for question in asked]


class Failing:
    """A caller whose calls all fail."""

    def __init__(self, error: FoveaError) -> None:
        self.error = error

    async def put(self, data: bytes) -> None:
        raise self.error


async def test_only_errors_with_a_reason_are_expected_in_a_soak() -> None:
    caller: Any = Failing(ImageNotStored("sha256:" + "a" * 64))
    errands = Errands(caller, 0)
    kinds = {errands.kind(number): number for number in range(20)}
    await errands.call(kinds["deleted"])
    with pytest.raises(ImageNotStored):
        await errands.call(kinds["upload"])


BEFORE = """# Page

## Measured

Text.

| case | measure | value | unit | n | target | met | run |
|---|---|---:|---|---:|---|---|---|
| `disk` | `hangs` | 0 | calls | 1 | at most 0 | yes | old |
| `soak` | `lost` | 9 | calls | 1 | at most 0 | **no** | old |

After.
"""


def test_publish_replaces_the_rows_of_its_case_and_keeps_the_order_of_cases(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(BEFORE)
    lost = Measure("calls", 0, 5, target=0, sense="at most")
    page.publish(path, list(CASES), "soak", {"lost": lost, "growth": Measure("MiB", None)})
    page.publish(
        path, list(CASES), "encoder-kill", {"lost": Measure("calls", 2, 7, target=0, sense="at most")}
    )
    lines = path.read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    assert [row[:7] for row in rows] == [
        ["`encoder-kill`", "`lost`", "2", "calls", "7", "at most 0", "**no**"],
        ["`disk`", "`hangs`", "0", "calls", "1", "at most 0", "yes"],
        ["`soak`", "`lost`", "0", "calls", "5", "at most 0", "yes"],
        ["`soak`", "`growth`", "not measured", "MiB", "0", "", ""],
    ]
    assert lines[:5] == BEFORE.splitlines()[:5]
    assert lines[-2:] == ["", "After."]


@pytest.mark.parametrize(("unit", "target"), [("ms", None), ("MiB", None), ("calls", 0)])
def test_a_quick_run_is_judged_by_counts_only(unit: str, target: float | None) -> None:
    assert _counted(Measure(unit, 1, 1, target=0, sense="at most")).target == target
