"""Plans that drop rows: Encode sends the rows that PlaceRows announces, and invalid plans are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fovea.contract.rows import digest
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import rows_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, put_on_encoder
from tests.e2e.metrics import scrape
from tests.e2e.pictures import picture

Plan, Choice = encoder_pb2.EncodePlan, encoder_pb2.RowChoice
HALF = Plan(rows=Choice(keep=0.5))


async def encode(house: House, image: str, plan: encoder_pb2.EncodePlan) -> tuple[Any, bytes, Any]:
    call = house.encoder.Encode(encoder_pb2.EncodeRequest(digest=image, plan=plan), timeout=CALL_S)
    events = [event async for event in call]
    return events[0].header, b"".join(event.chunk.data for event in events[1:-1]), events[-1].summary


async def place(
    house: House, image: str, plan: encoder_pb2.EncodePlan, **message: bool
) -> encoder_pb2.PlaceRowsResponse:
    request = encoder_pb2.PlaceRowsRequest(
        encode=encoder_pb2.EncodeRequest(digest=image, plan=plan), **message
    )
    return await house.encoder.PlaceRows(request, timeout=CALL_S)


async def test_placed_rows_are_the_rows_that_are_sent(house: House) -> None:
    image, encodes = await put_on_encoder(house, picture(320, 256, seed=901)), await house.encodes()
    unknown = await place(house, image, HALF, stored_only=True)
    assert (unknown.known, unknown.header.rows, unknown.header.count.tokens) == (False, 0, 80)
    assert await house.encodes() == encodes
    placed = await place(house, image, HALF, order=True)
    assert (placed.known, placed.header.source, placed.header.rows) == (True, rows_pb2.ROW_SOURCE_ENCODED, 40)
    assert sorted(placed.order) == list(range(80))
    assert sorted(placed.order[:40]) == list(placed.header.kept)
    header, data, summary = await encode(house, image, HALF)
    whole, every, _ = await encode(house, image, Plan())
    assert await house.encodes() == encodes + 1, "one computation for all of it"
    assert (header.kept, header.rows, header.source) == (placed.header.kept, 40, rows_pb2.ROW_SOURCE_ROWS)
    assert (header.count, header.layout) == (whole.count, whole.layout)
    assert not whole.kept
    width = whole.layout.row_bytes
    assert data == b"".join(every[at * width : (at + 1) * width] for at in header.kept)
    assert summary.rows_digest == digest(data)
    again = await place(house, image, HALF)
    assert (again.header.source, list(again.order)) == (rows_pb2.ROW_SOURCE_NONE, [])
    metrics = await scrape(house.encoder_side.metrics)
    assert metrics[("fovea_encoder_rankings_total", "", "")] == 1
    assert metrics[("fovea_encoder_rows_left_out_total", "", "")] == 40


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (Plan(rows=Choice(keep=0)), "plan.rows.keep"),
        (Plan(rows=Choice(keep=1.5)), "plan.rows.keep"),
        (Plan(rows=Choice(keep=float("nan"))), "plan.rows.keep"),
        (Plan(rows=Choice(keep=0.5, auto=True)), "plan.rows.keep"),
        (Plan(rows=Choice(reducer=rows_pb2.REDUCER_RESIZE)), "plan.rows.reducer"),
        (Plan(rows=Choice(reducer=77)), "plan.rows.reducer"),  # type: ignore[arg-type]
        (Plan(rows=Choice(auto=True, reducer=rows_pb2.REDUCER_STRIDE)), "plan.rows.reducer"),
        (Plan(flat_tolerance=33), "plan.flat_tolerance"),
    ],
)
async def test_a_wrong_plan_is_refused_by_the_field(
    house: House, plan: encoder_pb2.EncodePlan, field: str
) -> None:
    """Before the image is looked up."""
    encode = encoder_pb2.EncodeRequest(digest="sha256:" + "0" * 64, plan=plan)
    for call in (
        house.encoder.Encode(encode, timeout=CALL_S),
        house.encoder.PlaceRows(encoder_pb2.PlaceRowsRequest(encode=encode), timeout=CALL_S),
    ):
        error = await failure(call)
        assert (error.code, error.reason, set(error.violations)) == (
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
            {field},
        )
