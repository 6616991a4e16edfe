"""Each held-out question is sent once per view, with the right picture, and every outcome is recorded."""

from __future__ import annotations

import io
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from bench.evaluation import asking, sheets
from bench.evaluation.asking import Outcomes, Policy
from bench.evaluation.sheets import VIEWS, HeldOutChanged, file_of
from fovea.contract.errors import FoveaError
from standin.dataset import KINDS, encode, heldout


def test_every_question_has_its_place_and_its_picture() -> None:
    per_kind, seed = 3, 5
    expected = {kind: list(heldout(kind, per_kind, seed)) for kind in KINDS}
    places: Counter[tuple[int, int]] = Counter()
    for sheet in sheets.sheets(per_kind, seed):
        for place, asked in sheet.questions:
            places[place.kind, place.row] += 1
            drawn = expected[KINDS[place.kind]][place.row]
            assert (asked.question, asked.answer) == (drawn.question, drawn.answer)
            assert sheet.image.tobytes() == drawn.image.tobytes()
    assert set(places) == {(kind, row) for kind in range(len(KINDS)) for row in range(per_kind)}
    assert set(places.values()) == {1}


def test_pictures_are_shared_by_their_questions() -> None:
    drawn = list(sheets.sheets(2, 5))
    assert len(drawn) < 2 * len(KINDS) / 2


def test_views_are_native_half_size_and_blank() -> None:
    image = next(sheets.sheets(1, 5)).image
    native, half, blank = (Image.open(io.BytesIO(file_of(image, view))) for view in VIEWS)
    assert native.tobytes() == image.tobytes()
    assert half.size == (image.width // 2, image.height // 2)
    assert half.getextrema() != blank.getextrema()
    assert blank.size == image.size
    assert blank.getextrema() == ((255, 255),) * 3


def test_a_set_that_is_not_the_frozen_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "heldout_digest", lambda seed: f"digest of {seed}")
    monkeypatch.setattr(sheets, "DIGEST", "digest of 0")
    assert sheets.digest(0) == "digest of 0"
    assert sheets.digest(7) == "digest of 7"
    monkeypatch.setattr(sheets, "DIGEST", "another")
    with pytest.raises(HeldOutChanged):
        sheets.digest(0)


def test_every_right_answer_fits_the_token_limit() -> None:
    longest = max(len(encode(asked.answer)) for kind in KINDS for asked in heldout(kind, 20))
    assert longest + 1 <= asking.MAX_NEW_TOKENS  # and the token that ends it


class Oracle:
    """A client that is right at native size and wrong otherwise. It counts its requests."""

    def __init__(self, address: str) -> None:
        self.stored: list[bytes] = []
        self.names: dict[str, tuple[int, int]] = {}
        ORACLES.append(self)

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    def put(self, file: bytes) -> Any:
        already = file in self.stored
        self.stored.append(file)
        return SimpleNamespace(already=already, facts=SimpleNamespace(digest=file))

    def ask(self, question: str, images: list[bytes], budget: Any, sampling: Any) -> Any:
        totals = SimpleNamespace(visual_tokens=10, output_tokens=2)
        text = RIGHT.get((images[0], question), "wrong")
        return SimpleNamespace(text=f" {text}\n", receipt=SimpleNamespace(totals=totals))


ORACLES: list[Oracle] = []
POLICIES = [[Policy(view, view=view)] for view in VIEWS]
RIGHT: dict[tuple[bytes, str], str] = {}


def test_outcomes_are_recorded_per_question_and_each_picture_is_stored_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = list(sheets.sheets(2, 5))
    for sheet in drawn:
        file = file_of(sheet.image, "native")
        RIGHT.update({(file, asked.question): asked.answer for _, asked in sheet.questions})
    monkeypatch.setattr(asking, "Client", Oracle)
    told: list[str] = []
    outcomes = Outcomes(2)
    asking.ask("", iter(drawn), POLICIES, outcomes, 4, told.append)
    asks = 2 * len(KINDS) * len(VIEWS)
    assert outcomes.right["native"].all()
    assert not outcomes.right["half"].any()
    assert not outcomes.right["blank"].any()
    assert outcomes.asks == asks
    assert (outcomes.visual_tokens, outcomes.output_tokens) == (10 * asks, 2 * asks)
    assert told[-1].startswith(f"asked {asks} of {asks}, ")
    assert len(ORACLES[-1].stored) == len(drawn) * len(VIEWS)
    assert outcomes.images == len(set(ORACLES[-1].stored))


def test_a_failed_call_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Oracle):
        def ask(self, question: str, images: list[bytes], budget: Any, sampling: Any) -> Any:
            raise FoveaError("gone")

    monkeypatch.setattr(asking, "Client", Broken)
    with pytest.raises(FoveaError, match="gone"):
        asking.ask("", sheets.sheets(2, 5), POLICIES, Outcomes(2), 4)
