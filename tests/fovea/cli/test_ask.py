"""The output of `ask`, `put`, `info` and `cache` for people, and how failures end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fovea import client
from fovea.cli import options
from fovea.cli import visual as visual_options
from fovea.cli.output import clean
from fovea.client.pdf import pages
from fovea.contract.budget import Budget, from_proto, to_proto
from fovea.contract.errors import InvalidArgument, Violation
from fovea.contract.plan import MAX_FLAT_TOLERANCE
from fovea.contract.receipt import Price
from tests.fovea.client.fakes import png
from tests.fovea.client.papers import A4, pdf


def test_the_answer_alone_goes_to_stdout_and_its_receipt_to_stderr(fovea, decoder_address, picture):
    result = fovea("ask", picture, "-q", "How many?", "--decoder", decoder_address)
    assert (result.exit_code, result.stdout) == (0, "forty two\n")
    assert f"{picture} 330x250, seen as 320x256: 80 tokens, miss on encoder-0, 100 B moved" in result.stderr
    assert "80 visual + 10 text in, 2 out" in result.stderr
    assert "encode 2.0, transfer 0.5, prefill 3.0" in result.stderr
    assert "\x1b" not in result.output


def test_options_and_variables_reach_the_server(fovea, decoder, decoder_address, picture, monkeypatch):
    monkeypatch.setenv("FOVEA_DECODER", decoder_address)
    monkeypatch.setenv("FOVEA_TOKEN", "secret")
    flags = (
        "--max-pixels",
        "65536",
        "--max-new-tokens",
        "7",
        "--temperature",
        "0.5",
        "--stop",
        "a",
        "--stop",
        "b",
    )
    assert fovea("ask", picture, "-q", "What?", *flags).exit_code == 0
    request = decoder.requests[0]
    assert request.visual.max_pixels == 65536
    assert (request.sampling.max_new_tokens, request.sampling.temperature) == (7, 0.5)
    assert list(request.sampling.stop) == ["a", "b"]
    assert decoder.metadata["authorization"] == "Bearer secret"


def test_sampling_options_reach_the_server(fovea, decoder, decoder_address, picture):
    said = (
        "--temperature 0 --top-k 0 --presence-penalty 1.5 --frequency-penalty -0.5 --logit-bias 7:-100"
        " --logit-bias 151645:0.5 --checkpoint-defaults --seed 0"
    )
    argv = ("ask", picture, "-q", "?", "--decoder", decoder_address)
    assert fovea(*argv, *said.split()).exit_code == 0
    sampling = decoder.requests[0].sampling
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.seed) == (1.5, -0.5, 0)
    assert dict(sampling.logit_bias) == {7: -100, 151645: 0.5}
    assert 0 < sampling.temperature < 0.01 < sampling.top_k  # given, so the checkpoint's do not count
    assert (sampling.checkpoint_defaults, sampling.HasField("repetition_penalty")) == (True, False)
    for bias in ("7", "x:1", "7:y", "-1:1", f"{2**32}:1"):
        refused = fovea(*argv, "--logit-bias", bias)
        assert (refused.exit_code, bias in refused.output) == (2, True), bias
    assert len(decoder.requests) == 1


def test_the_models_notice_is_printed_once(fovea, decoder, decoder_address, picture):
    argv = ("ask", picture, "-q", "?", "--decoder", decoder_address)
    assert "note " not in fovea(*argv).output
    decoder.notice = "Reads only\x1b charts."
    said = fovea(*argv)
    assert (said.stdout, said.stderr.count("note    Reads only charts.")) == ("forty two\n", 1)
    machine = fovea(*argv, "--json")
    assert json.loads(machine.stdout)["model_notice"] == decoder.notice
    assert "Reads only" not in machine.stderr


def test_the_receipt_shows_savings_and_price(fovea, decoder, decoder_address, picture):
    argv = ("ask", picture, "-q", "?", "--decoder", decoder_address)
    assert "\nsaved" not in fovea(*argv).stderr
    decoder.naive, decoder.price, decoder.degraded = 320, Price(0.002, "EUR", 0.008), True
    printed = fovea(*argv).stderr
    assert "moved; resize 90 to 80 (max_pixels)" in printed
    assert "saved   75% of 320 visual tokens, 75% of 1,280 patches in the tower" in printed
    assert "price   0.002 EUR, 0.008 without planning" in printed
    assert "detail  lowered" in printed


def test_an_answer_ended_by_a_stop_string_is_marked(fovea, decoder, decoder_address, picture):
    argv = ("ask", picture, "-q", "?", "--decoder", decoder_address)
    assert "stopped" not in fovea(*argv).output
    decoder.matched_stop = "END\x1b"
    assert ", stopped before 'END\\x1b', request" in fovea(*argv).output
    assert json.loads(fovea(*argv, "--json").stdout)["matched_stop"] == "END\x1b"


def test_a_budget_reaches_the_server(fovea, decoder, decoder_address, picture):
    said = (
        "--max-pixels 1 --budget 2 --min-tokens 3 --detail auto --min-detail low --short-side 4 --long-side 5"
        " --refuse-over-budget --keep 0.5 --reducer divprune --drop-flat --repeat reference --near-repeats 0.25"
    )
    assert fovea("ask", picture, "-q", "?", "--decoder", decoder_address, *said.split()).exit_code == 0
    visual = decoder.requests[0].visual
    assert from_proto(visual) == Budget(
        max_pixels=1,
        max_visual_tokens=2,
        detail="auto",
        min_detail="low",
        on_over_budget="refuse",
        repeat_policy="reference",
        keep=0.5,
        reducer="divprune",
        flat_tolerance=0,
        near_repeats=0.25,
        min_tokens=3,
        max_short_side=4,
        max_long_side=5,
    )
    assert to_proto(from_proto(visual)) == visual
    assert visual_options.MOST_TOLERANCE == MAX_FLAT_TOLERANCE


def test_pages_of_a_pdf_replace_the_file(fovea, decoder, decoder_address, picture, tmp_path):
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf([A4, A4, (300, 300)]))
    where = ("-q", "?", "--decoder", decoder_address)
    result = fovea("ask", path, picture, "--pages", "3,1", "--max-pixels", "262144", *where)
    assert result.exit_code == 0, result.output
    for name in (f"{path} page 3", f"{path} page 1", picture):
        assert f"image   {name} " in result.stderr
    assert list(decoder.stored.values())[:2] == pages(path, "3,1", 262_144)
    assert "--pages 1 is for PDFs" in fovea("ask", picture, "--pages", "1", *where).stderr
    path.write_bytes(pdf(encrypted=True))
    failed = fovea("ask", path, "--json", *where)
    assert json.loads(failed.stdout)["error"]["reason"] == "FILE_NOT_READABLE"


def test_the_response_format_option_reaches_the_server(fovea, decoder, decoder_address, picture, tmp_path):
    argv = ("ask", picture, "-q", "?", "--decoder", decoder_address)
    (tmp_path / "schema.json").write_text('{"type": "integer"}')
    for flags in (
        ("--json-schema", str(tmp_path / "schema.json")),
        ("--json-schema", ' {"type": "null"}'),
        ("--regex", "[a-z]+"),
        ("--choice", "yes", "--choice", "no"),
    ):
        assert fovea(*argv, *flags).exit_code == 0
    schema, inline, regex, choice = [request.response_format for request in decoder.requests]
    assert (schema.json_schema, inline.json_schema) == ('{"type": "integer"}', ' {"type": "null"}')
    assert (regex.regex, list(choice.choice.options)) == ("[a-z]+", ["yes", "no"])
    assert fovea(*argv, "--choice", "yes", "--regex", "no").exit_code == 2
    missing = fovea(*argv, "--json-schema", "none.json")
    assert (missing.exit_code, "none.json" in missing.stderr) == (1, True)


def test_files_that_are_to_fit_are_shrunk_before_they_are_sent(fovea, decoder, decoder_address, tmp_path):
    path = png(tmp_path / "large.png", 1600, 1200)
    argv = ("ask", path, "-q", "?", "--max-pixels", "262144", "--decoder", decoder_address)
    assert fovea(*argv).exit_code == fovea(*argv, "--fit").exit_code == 0
    as_it_is, shrunk = decoder.stored.values()
    assert as_it_is == Path(path).read_bytes()
    assert shrunk == client.fit(path, 262_144) != as_it_is


def test_a_server_failure_prints_a_paragraph(fovea, decoder, decoder_address, picture):
    decoder.failure = InvalidArgument(
        "max_pixels is too small", violations=[Violation("visual.max_pixels", "tiny")]
    )
    argv = ("ask", picture, "-q", "?", "--decoder", decoder_address)
    result = fovea(*argv)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "fovea: max_pixels is too small (visual.max_pixels: tiny). Request request-1 [INVALID_ARGUMENT]\n"
    )
    printed = json.loads(fovea(*argv, "--json").stdout)
    assert printed["request_id"] == "request-1"


def test_an_unreachable_service_error_advises_what_to_do(fovea, picture):
    result = fovea("ask", picture, "-q", "?", "--decoder", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "fovea serve" in result.stderr


@pytest.mark.parametrize("argv", [("ask",), ("ask", "x.png"), ("nonsense",), ("cache", "nonsense"), ("put",)])
def test_usage_errors_exit_with_status_2(fovea, argv):
    assert fovea(*argv).exit_code == 2


def test_an_answer_cannot_steer_the_terminal(fovea, decoder, decoder_address, picture):
    decoder.answer = "red\x1b[2J\x07\n\tgreen\x9b"
    result = fovea("ask", picture, "-q", "?", "--decoder", decoder_address)
    assert result.stdout.startswith("red[2J\n\tgreen\n")
    assert clean("价格 → 42") == "价格 → 42"


def test_put_reports_whether_the_image_was_stored(fovea, decoder_address, picture):
    first = fovea("put", picture, "--decoder", decoder_address)
    again = fovea("put", picture, "--decoder", decoder_address)
    assert first.stdout.startswith("sha256:")
    assert "stored on encoder-0" in first.stdout
    assert first.stderr == ""
    assert "held already on encoder-0" in again.stdout


def test_info_shows_the_reachable_service(fovea, encoder_address):
    result = fovea("info", "--decoder", "127.0.0.1:1", "--encoder", encoder_address)
    assert result.exit_code == 0
    assert "decoder  127.0.0.1:1  cannot be reached" in result.stdout
    assert "loading (50%)" in result.stdout


def test_cache_stats_and_delete_read_well(fovea, encoder_address):
    result = fovea("cache", "stats", "--encoder", encoder_address)
    assert "3 records, 3.0 MiB of 4.0 GiB" in result.stdout
    assert "9 hits (75%), 3 misses" in result.stdout
    result = fovea("cache", "delete", "sha256:" + "0" * 64, "--encoder", encoder_address)
    assert "removed: uploads 1, row records 2, 4.0 KiB; on disk: erased" in result.stdout


def test_cache_delete_and_purge_name_encoders_that_did_not_confirm(fovea, decoder, decoder_address, tmp_path):
    file = tmp_path / "picture.png"
    file.write_bytes(b"picture")
    some = "sha256:" + "0" * 64
    result = fovea("cache", "delete", file, some, "--decoder", decoder_address)
    assert result.exit_code == 1
    assert result.stdout.count("removed: uploads 1, row records 2, 4.0 KiB; on disk: after compaction") == 2
    assert "not confirmed by b:1 (ENCODER_UNAVAILABLE)" in result.stdout
    assert decoder.deleted[1] == some
    result = fovea("cache", "purge", "acme", "--json", "--decoder", decoder_address)
    assert (result.exit_code, decoder.deleted[-1]) == (1, "acme")
    assert '"complete": false' in result.stdout or '"complete":false' in result.stdout


def test_command_and_client_agree_on_where_services_are():
    assert (options.DECODER, options.ENCODER) == (client.DEFAULT_DECODER, client.DEFAULT_ENCODER)
