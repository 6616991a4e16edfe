"""`fovea tiers check` reads a tiers file as the decoder does, and prints what its tiers cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TIERS = """
[[tier]]
name = "cache"
kind = "exact"
max_bytes = "8 MiB"
when = { max_images = 2 }

[[tier]]
name = "large"
kind = "model"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiers.toml"
    path.write_text(TIERS)
    return path


@pytest.mark.long
def test_each_tier_is_a_line_with_its_price_and_condition(fovea, file) -> None:
    result = fovea("tiers", "check", file)
    assert result.exit_code == 0, result.output
    cache, large = result.stdout.splitlines()
    assert cache.split() == ["cache", "exact", "free", "when", "max_images", "2"]
    assert large.split() == ["large", "model", "the", "decoder's", "own", "prices"]


@pytest.mark.long
def test_json_has_the_settings_of_each_tier(fovea, file) -> None:
    result = fovea("tiers", "check", file, "--json")
    cache, large = json.loads(result.stdout)["tiers"]
    assert (cache["name"], cache["settings"]["max_bytes"], cache["line"]) == ("cache", 8 << 20, 2)
    assert (large["own"], large["price"], large["when"]) == (True, None, {})


@pytest.mark.long
def test_a_mistake_exits_with_2_and_names_the_line(fovea, file) -> None:
    file.write_text(TIERS.replace("max_bytes", "max_byte"))
    result = fovea("tiers", "check", file)
    assert result.exit_code == 2
    assert f"{file}, line 5: max_byte '8 MiB' is not a key" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.long
def test_a_decoder_adds_what_it_has_measured(fovea, file, decoder, decoder_address) -> None:
    decoder.tiers = [{"name": "large", "kind": "model", "dummy_ms": 12.5, "kept_share": 0.75}]
    result = fovea("tiers", "check", file, "--decoder", decoder_address)
    assert "12.5 ms for a dummy request  keeps 75%" in result.stdout.splitlines()[1]
    assert "ms" not in result.stdout.splitlines()[0]
