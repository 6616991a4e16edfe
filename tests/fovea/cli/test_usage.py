"""`fovea usage`: a table for people, CSV and JSON lines for programs."""

from __future__ import annotations

import csv
import io
import json

import pytest

from fovea.cli import usage
from fovea.contract.image import ImageKind
from fovea.contract.usage import Anomaly, AnomalyKind, Dimension, UsageSummary
from tests.decoder.ledger.parts import receipt, record

SUMS = [
    UsageSummary(key, 12, 8, 1, 1, 1, 1, 0, 1234, 40, 100, 5, 30, 3, 1 << 33, 0.25, 1.0, "EUR")
    for key in ("acme", "b")
]


def test_the_options_are_the_dimensions_of_the_client() -> None:
    assert [each.value for each in usage.By] == [each.value for each in Dimension]


def test_sums_are_a_table_with_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    usage._print_sums(SUMS, None, False)
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [
        [key, "12", "1,234", "40", "5", "30", "3", "3", "0.25", "EUR"] for key in ("acme", "b")
    ]
    assert header.index("requests") + len("requests") == rows[0].index("12") + 2


def test_exports_hold_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    usage._print_sums(SUMS, usage.Export.JSONL, False)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        vars(each) for each in SUMS
    ]
    usage._print_sums(SUMS, usage.Export.CSV, False)
    assert [row["wire_bytes"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == [
        str(1 << 33)
    ] * 2
    records = [record(receipt=receipt(kind=ImageKind.PHOTO)), record(tenant='with, a "comma"')]
    usage._print_records(records, usage.Export.CSV, False)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["tenant"] for row in rows] == ["acme", 'with, a "comma"']
    assert (rows[0]["image_kind"], rows[0]["visual_tokens"], rows[0]["total_ms"]) == ("PHOTO", "40", "20.25")
    usage._print_records(records, usage.Export.JSONL, False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == [each.id for each in records]
    assert lines[0]["receipt"]["images"][0]["kind"] == "PHOTO"
    assert lines[0]["saved"] == {"resize": 40, "flat": 20}


def test_a_request_id_is_no_formula_of_a_spreadsheet(capsys: pytest.CaptureFixture[str]) -> None:
    """Callers choose it, and an operator opens the export. JSON lines hold it as it is."""
    formula = '=HYPERLINK("http://x")'
    usage._print_records([record(request_id=formula, started=-1.0)], usage.Export.CSV, False)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["request_id"], row["started"]) == (f"'{formula}", "-1.0")
    usage._print_records([record(request_id=formula)], usage.Export.JSONL, False)
    assert json.loads(capsys.readouterr().out)["request_id"] == formula


ANOMALIES = [
    Anomaly(AnomalyKind.COST, "acme", 1_700_000_000.0, "r1", "PHOTO", 300.4, 1520.0),
    Anomaly(None, "b", 1_700_000_060.0, "r2", "", 0.25, 1.0),
]


def test_anomalies_are_a_table_or_values(capsys: pytest.CaptureFixture[str]) -> None:
    usage._print_anomalies(ANOMALIES, None, False)
    assert [row.split() for row in capsys.readouterr().out.splitlines()] == [
        ["time", "tenant", "kind", "images", "usual", "value", "request"],
        ["2023-11-14T22:13:20Z", "acme", "cost", "PHOTO", "300", "1,520", "r1"],
        ["2023-11-14T22:14:20Z", "b", "unknown", "25%", "100%", "r2"],
    ]
    usage._print_anomalies(ANOMALIES, None, True)
    assert json.loads(capsys.readouterr().out)["anomalies"] == [each.as_json() for each in ANOMALIES]
    usage._print_anomalies(ANOMALIES, usage.Export.CSV, False)
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [(row["kind"], row["value"]) for row in rows] == [("cost", "1520.0"), ("", "1.0")]
    usage._print_anomalies(ANOMALIES, usage.Export.JSONL, False)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["r1", "r2"]


def test_a_plot_is_a_picture_of_every_key(tmp_path) -> None:
    from PIL import Image

    from fovea.cli.usage_plot import draw

    draw(SUMS, "tenant", tmp_path / "sums.png")
    with Image.open(tmp_path / "sums.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").resize((60, 45)).getcolors() or ()) > 4


@pytest.mark.parametrize("what", [[], ["--records"], ["--anomalies"]])
def test_a_server_without_a_usage_service_is_an_error(fovea, decoder_address, what: list[str]) -> None:
    """The pretended decoder knows no UsageService; the command says so."""
    result = fovea("usage", *what, "--json", "--decoder", decoder_address)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("options", "unused"),
    [
        (["--records", "--by", "tenant"], "--by"),
        (["--anomalies", "--hours", "0"], "--hours"),
        (["--request", "r", "--plot", "x.png"], "--plot"),
        (["--records", "--anomalies"], "--anomalies"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(fovea, options: list[str], unused: str) -> None:
    result = fovea("usage", *options)
    assert result.exit_code == 2
    assert f"{unused} has no effect beside {options[0]}" in result.output
