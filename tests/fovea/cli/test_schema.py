"""The JSON output that machines rely on: keys and types of every command, of receipts and of errors."""

from __future__ import annotations

import json

import pytest

NUMBER = (int, float)
IMAGE = {
    "digest": str,
    "original": list,
    "planned": list,
    "grid_thw": list,
    "patches": int,
    "tokens_full": int,
    "tokens": int,
    "steps": list,
    "source": str,
    "encoder": str,
    "dtype": str,
    "row_bytes": int,
    "wire_bytes": int,
    "rows_digest": str,
    "repeat_of": (int, type(None)),
    "kind": str,
}
STEP = {"name": str, "before": int, "after": int, "reason": str}
TOTALS = {
    "visual_tokens": int,
    "naive_visual_tokens": int,
    "text_tokens": int,
    "cached_prompt_tokens": int,
    "output_tokens": int,
    "encodes": int,
    "wire_bytes": int,
    "row_bytes": int,
    "patches": int,
    "naive_patches": int,
}
STAGES = dict.fromkeys(["queue", "encode", "transfer", "prefill", "ttft", "decode", "total"], NUMBER)
ASK = {
    "schema": int,
    "request_id": str,
    "answer": str,
    "finish_reason": str,
    "matched_stop": str,
    "model": str,
    "model_notice": str,
    "receipt": dict,
}
COUNT = {
    "schema": int,
    "width": int,
    "height": int,
    "resized": list,
    "patches": int,
    "tokens": int,
    "row_bytes": int,
    "kv_bytes": int,
    "fits_context": bool,
    "exact": bool,
    "model": str,
}
ERROR = {"code": str, "reason": str, "message": str, "metadata": dict}


def hold(value: dict, shape: dict) -> None:
    """Extra keys are allowed, missing keys and other types are not; a bool is not a number."""
    for name, kind in shape.items():
        assert name in value, name
        assert isinstance(value[name], kind), (name, value[name])
        assert kind is bool or not isinstance(value[name], bool), name


def last_line(result) -> dict:
    lines = result.stdout.splitlines()
    parsed = json.loads(lines[-1])
    assert parsed["schema"] == 1
    return parsed


def test_ask_json_has_the_documented_fields(fovea, decoder_address, picture):
    result = fovea("ask", picture, "-q", "How many?", "--json", "--decoder", decoder_address)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    parsed = last_line(result)
    hold(parsed, ASK)
    receipt = parsed["receipt"]
    hold(receipt, {"images": list, "totals": dict, "stages_ms": dict, "tier": dict, "price": dict})
    hold(receipt, {"degraded": bool})
    hold(receipt["images"][0], IMAGE)
    hold(receipt["images"][0]["steps"][0], STEP)
    hold(receipt["totals"], TOTALS)
    hold(receipt["stages_ms"], STAGES)
    hold(receipt["tier"], {"path": list, "reason": str})
    hold(receipt["price"], {"amount": NUMBER, "currency": str, "naive_amount": NUMBER})
    assert receipt["images"][0]["source"] in ("encoded", "rows", "prefix", "none")
    assert receipt["totals"]["cached_prompt_tokens"] == 0  # zeros are printed
    assert (parsed["answer"], parsed["finish_reason"]) == ("forty two", "stop")


def test_count_json_has_the_documented_fields(fovea):
    parsed = last_line(fovea("count", "1024x1024", "--json"))
    hold(parsed, COUNT)
    assert set(parsed) == set(COUNT)
    assert parsed["resized"] == [1024, 1024]


def test_put_info_and_cache_json_have_the_documented_fields(fovea, decoder_address, encoder_address, picture):
    parsed = last_line(fovea("put", picture, "--json", "--decoder", decoder_address))
    hold(parsed, {"digest": str, "width": int, "height": int, "already_stored": bool, "expire_time": str})
    where = ("--decoder", decoder_address, "--encoder", encoder_address)
    parsed = last_line(fovea("info", "--json", *where))
    shape = {"address": str, "model": str, "state": str, "progress": NUMBER, "limits": dict, "load": dict}
    hold(parsed["decoder"], shape)
    hold(parsed["encoder"], shape)
    parsed = last_line(fovea("cache", "stats", "--json", "--encoder", encoder_address))
    hold(parsed, dict.fromkeys(["records", "record_bytes", "hits", "misses", "evictions"], int))
    some = "sha256:" + "0" * 64
    parsed = last_line(fovea("cache", "delete", some, "--json", "--encoder", encoder_address))
    hold(parsed, {"digest": str, "uploads": int, "records": int, "bytes": int})


COMMANDS = {
    "ask": ("ask", "PICTURE", "-q", "?", "--decoder", "127.0.0.1:1"),
    "ask a missing file": ("ask", "none.png", "-q", "?", "--decoder", "127.0.0.1:1"),
    "plan": ("plan", "PICTURE", "--decoder", "127.0.0.1:1"),
    "put": ("put", "PICTURE", "--decoder", "127.0.0.1:1"),
    "info": ("info", "--decoder", "127.0.0.1:1", "--encoder", "127.0.0.1:1"),
    "cache stats": ("cache", "stats", "--encoder", "127.0.0.1:1"),
    "cache delete": ("cache", "delete", "sha256:0", "--encoder", "127.0.0.1:1"),
    "count": ("count", "none.png"),
}


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_reports_errors_in_the_same_shape(fovea, picture, name):
    argv = [picture if argument == "PICTURE" else argument for argument in COMMANDS[name]]
    result = fovea(*argv, "--json")
    assert result.exit_code == 1
    parsed = last_line(result)
    hold(parsed, {"schema": int, "request_id": str, "error": dict})
    hold(parsed["error"], ERROR)
    assert set(parsed["error"]) == set(ERROR)
    plain = fovea(*argv)
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert parsed["error"]["message"] in plain.stderr
