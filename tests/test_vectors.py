"""The Python client and the services agree with the vectors that the Go and Java clients are tested with."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from fovea.client.affinity import key_of
from fovea.client.fitting import TOKENS_APART, fitted_size
from fovea.client.messages import id_of
from fovea.client.row_stream import RowStreamReader
from fovea.client.values import Rows
from fovea.contract.budget import Budget
from fovea.contract.errors import BY_REASON, InvalidArgument, RemoteError, RowsMismatch
from fovea.contract.remote import DETAILS, error_of
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.geometry import DEFAULT_MAX_PIXELS, MAX_ASPECT, Geometry
from fovea.planning.limit import pixel_limit
from fovea.rendezvous import bounded_owner, ranked

ROOT = Path(__file__).parents[1]


def vectors(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())


GEOMETRY, ROWS = vectors("geometry"), vectors("rows")
ERRORS = {case["reason"]: case for case in vectors("errors")["errors"]}


def test_the_vector_files_match_the_code() -> None:
    command = [sys.executable, "-m", "tests.vectors.make", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_vector_ids() -> None:
    cases = vectors("ids")["ids"]
    assert [id_of(base64.b64decode(case["bytes"])) for case in cases] == [case["id"] for case in cases]


def test_vector_decoders() -> None:
    cases = vectors("decoders")
    for case in cases["orders"]:
        assert ranked(case["key"], case["addresses"]) == case["ranked"]
    for case in cases["choices"]:
        assert bounded_owner(case["key"], case["calls"]) == case["chosen"]
    for case in cases["requests"]:
        request = decoder_pb2.GenerateRequest.FromString(base64.b64decode(case["request"]))
        assert key_of(request) == case["key"]


def test_geometry_constants_are_the_published_constants() -> None:
    told = dict(GEOMETRY["geometry"])
    assert told.pop("default_max_pixels") == DEFAULT_MAX_PIXELS
    assert told.pop("max_aspect") == MAX_ASPECT
    assert vars(Geometry()) == told | {"temporal": 2}


def test_vector_planned_sizes() -> None:
    for case in GEOMETRY["cases"]:
        plan = Geometry().plan(case["width"], case["height"], case["max_pixels"])
        assert [plan.width, plan.height] == case["planned"]
        assert list(plan.grid_thw) == case["grid_thw"]
        assert (plan.patches, plan.tokens) == (case["patches"], case["tokens"])


def test_bounds_of_sides_and_of_tokens() -> None:
    for case in GEOMETRY["bounded"]:
        size = (case["width"], case["height"])
        bounds = (case["max_pixels"], case["max_short_side"], case["max_long_side"])
        assert Geometry().limit(*size, *bounds) == case["limit"], case
        assert Geometry().largest_fitting(*size, case["tokens"]) == case["largest_fitting"], case


@pytest.mark.parametrize("case", GEOMETRY["refused"], ids=str)
def test_vector_refused_sizes(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Geometry().plan(case["width"], case["height"])
    assert caught.value.reason == case["reason"]


def test_a_fitted_picture_costs_what_the_original_costs() -> None:
    """Of every size, at every limit; and most of the large ones are worth shrinking at all."""
    shrunk = 0
    for case in GEOMETRY["cases"]:
        limit = case["max_pixels"] or Geometry().max_pixels
        if limit < Geometry().min_pixels:
            continue  # no image is planned smaller than that
        size = fitted_size(case["width"], case["height"], Budget(max_pixels=limit))
        if size is None:
            continue
        shrunk += 1
        assert list(size) == case["planned"]
        assert abs(Geometry().plan(*size, limit).tokens - case["tokens"]) <= TOKENS_APART
        assert size[0] <= case["width"]
        assert size[1] <= case["height"]
    assert shrunk > len(GEOMETRY["cases"]) / 2


def test_a_picture_is_fitted_to_sides_and_to_tokens() -> None:
    for case in GEOMETRY["bounded"]:
        size = (case["width"], case["height"])
        sides = {"max_short_side": case["max_short_side"], "max_long_side": case["max_long_side"]}
        assert (
            pixel_limit(Budget(max_pixels=case["max_pixels"] or 2**32 - 1, **sides), *size) == case["limit"]
        )
        tokens = pixel_limit(Budget(max_pixels=2**32 - 1, max_visual_tokens=case["tokens"]), *size)
        assert tokens == Geometry().within(case["largest_fitting"] or 1)
        narrowed = Budget(case["max_pixels"] or 2**32 - 1, case["tokens"], **sides)
        assert pixel_limit(narrowed, *size) == min(tokens, case["limit"])


def assembled(stream: list[str]) -> Rows:
    assembly = RowStreamReader()
    for message in stream:
        assembly.take(encoder_pb2.EncodeResponse.FromString(base64.b64decode(message)))
    return assembly.rows()


def test_rows_of_a_good_stream() -> None:
    rows = assembled(ROWS["stream"])
    assert rows.data == base64.b64decode(ROWS["data"])
    assert len(rows.data) == ROWS["rows"] * ROWS["row_bytes"]
    told = (rows.count, rows.width, rows.levels, rows.dtype, rows.rows_digest)
    assert told == tuple(ROWS[name] for name in ("rows", "width", "levels", "dtype", "rows_digest"))


def test_vector_rows_with_kept_indices() -> None:
    rows = assembled(ROWS["kept"]["stream"])
    assert rows.kept == tuple(ROWS["kept"]["places"])
    assert rows.data == base64.b64decode(ROWS["data"])
    assert rows.grid_thw == (1, 12, 16)
    assert assembled(ROWS["stream"]).kept == ()


@pytest.mark.parametrize("case", ROWS["refused"], ids=lambda case: case["why"])
def test_vector_refused_rows(case: dict[str, Any]) -> None:
    with pytest.raises(RowsMismatch):
        assembled(case["stream"])


class Status(grpc.RpcError):
    """A failed call as gRPC hands it over."""

    def __init__(self, code: grpc.StatusCode, message: str, details: bytes) -> None:
        self.code = lambda: code
        self.details = lambda: message
        self.trailing_metadata = lambda: ((DETAILS, details),)


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_an_error_says_all_that_its_status_does(case: dict[str, Any]) -> None:
    code = grpc.StatusCode[case["code"]]
    error = error_of(Status(code, case["message"], base64.b64decode(case["status"])))
    assert (error.reason, error.code, error.message) == (case["reason"], code, case["message"])
    assert error.metadata == case["metadata"]
    assert [vars(violation) for violation in error.violations] == case["violations"]
    assert error.request_id == case["request_id"]
    retry_ms = None if error.retry_after_s is None else error.retry_after_s * 1000
    assert retry_ms == case["retry_after_ms"]
    kind = BY_REASON.get(case["reason"], RemoteError)
    assert type(error) is kind
    assert kind is RemoteError or (kind.reason, kind.code) == (case["reason"], code)


def test_all_reasons_that_have_a_class_are_in_the_vectors() -> None:
    assert set(BY_REASON) < set(ERRORS)
