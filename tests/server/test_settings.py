"""Settings: every field a flag and a variable, nothing misspelt is ignored, secrets stay secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from decoder_svc.settings import DecoderSettings
from encoder_svc.settings import EncoderSettings
from fovea.settings import Settings, load, printable, unknown_variables

BOTH = [EncoderSettings, DecoderSettings]
KUBERNETES = {
    "FOVEA_ENCODER_SERVICE_HOST": "10.0.0.1",
    "FOVEA_ENCODER_SERVICE_PORT": "50051",
    "FOVEA_ENCODER_SERVICE_PORT_GRPC": "50051",
    "FOVEA_ENCODER_PORT": "tcp://10.0.0.1:50051",
    "FOVEA_ENCODER_PORT_50051_TCP": "tcp://10.0.0.1:50051",
    "FOVEA_ENCODER_PORT_50051_TCP_PROTO": "tcp",
    "FOVEA_ENCODER_PORT_50051_TCP_PORT": "50051",
    "FOVEA_ENCODER_PORT_50051_TCP_ADDR": "10.0.0.1",
    "FOVEA_DECODER_SERVICE_HOST": "10.0.0.2",
    "FOVEA_DECODER_PORT_50052_TCP": "tcp://10.0.0.2:50052",
    "FOVEA_VALKEY_SERVICE_HOST": "10.0.0.3",
}


class WithSecret(Settings):
    model_config = SettingsConfigDict(env_prefix="FOVEA_ENCODER_")

    token: SecretStr = Field(SecretStr("hunter2"), description="A secret")
    size: int = Field(3, ge=1, description="A number")


def settings_of(kind: type[Settings], *argv: str) -> Settings:
    return load(kind, argv, program="test", description="test", environ={})


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FOVEA_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", ["FOVEA_MODEL", "FOVEA_CACHE", "FOVEA_ENCODERS_"])
def test_an_unknown_variable_is_found(kind: type[Settings], name: str) -> None:
    assert unknown_variables(kind, {name: "1", "PATH": "/bin"}) == [name]


def test_a_misspelt_own_variable_is_found() -> None:
    assert unknown_variables(EncoderSettings, {"FOVEA_ENCODER_MODLE": "x"}) == ["FOVEA_ENCODER_MODLE"]
    assert unknown_variables(DecoderSettings, {"FOVEA_DECODER_MAXCONTEXT": "x"}) != []


@pytest.mark.parametrize("kind", BOTH)
def test_what_kubernetes_injects_is_accepted(kind: type[Settings]) -> None:
    assert unknown_variables(kind, KUBERNETES) == []


@pytest.mark.parametrize("kind", BOTH)
def test_every_variable_of_both_services_may_stand_in_one_environment(kind: type[Settings]) -> None:
    """One terminal, one compose file: each service leaves the other's variables alone."""
    both = EncoderSettings.variables() | DecoderSettings.variables() | {"FOVEA_TOKEN"}
    assert unknown_variables(kind, dict.fromkeys(both, "1")) == []


def test_an_unknown_variable_refuses_the_start_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        load(WithSecret, [], program="test", description="test", environ={"FOVEA_ENCODER_SISE": "4"})
    assert stopped.value.code == 2
    assert "FOVEA_ENCODER_SISE" in capsys.readouterr().err


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(WithSecret).size == 3  # type: ignore[attr-defined]
    monkeypatch.setenv("FOVEA_ENCODER_SIZE", "4")
    assert settings_of(WithSecret).size == 4  # type: ignore[attr-defined]
    assert settings_of(WithSecret, "--size", "5").size == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [["--size", "0"], ["--size", "many"], ["--sise", "1"], ["extra"]])
def test_a_wrong_value_refuses_the_start(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        settings_of(WithSecret, *wrong)
    assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err


def test_secrets_are_never_printed() -> None:
    chosen = settings_of(WithSecret, "--token", "swordfish")
    shown = str(printable(chosen)) + repr(chosen)
    assert "swordfish" not in shown
    assert "hunter2" not in shown
    assert printable(chosen)["size"] == "3"


@pytest.mark.parametrize("kind", BOTH)
def test_every_field_is_printed_at_start(kind: type[Settings]) -> None:
    assert set(printable(settings_of(kind, "--model", "m"))) == set(kind.model_fields)


@pytest.mark.parametrize("kind", BOTH)
def test_settings_do_not_change_after_the_start(kind: type[Settings]) -> None:
    chosen = settings_of(kind, "--model", "m")
    with pytest.raises(ValueError, match="frozen"):
        chosen.model = Path("other")  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", BOTH)
def test_help_lists_every_field_with_its_variable_and_sentence(
    kind: type[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        settings_of(kind, "--help")
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, field in kind.model_fields.items():
        assert f"--{name.replace('_', '-')} " in shown
        assert f"[{kind.variable(name)}]" in shown
        assert field.description
        assert " ".join(field.description.split()) in shown


def test_the_addresses_of_the_readme_are_the_defaults() -> None:
    ours, theirs = settings_of(EncoderSettings, "--model", "m"), settings_of(DecoderSettings, "--model", "m")
    assert (ours.listen, ours.metrics_listen) == ("127.0.0.1:50051", "127.0.0.1:9101")  # type: ignore[attr-defined]
    assert (theirs.listen, theirs.metrics_listen) == ("127.0.0.1:50052", "127.0.0.1:9102")  # type: ignore[attr-defined]
    assert theirs.encoder_addresses == ["127.0.0.1:50051"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", ["encoder_svc", "decoder_svc"])
def test_a_folder_that_is_no_checkpoint_ends_the_process_with_one_line(package: str, tmp_path: Path) -> None:
    """A process, because this is about how it ends: status 1, what is wrong, and no traceback."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    done = subprocess.run(
        [sys.executable, "-m", package, "--model", str(tmp_path), "--cache-dir", str(tmp_path / "c")]
        if package == "encoder_svc"
        else [sys.executable, "-m", package, "--model", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "llama" in done.stderr
    assert "Traceback" not in done.stderr
