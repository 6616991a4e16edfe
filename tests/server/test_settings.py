"""Settings: every field is a flag and a variable, typos are refused, secrets stay secret."""

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
from tests.conftest import pytest_configure

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


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", ["FOVEA_MODEL", "FOVEA_CACHE", "FOVEA_ENCODERS_"])
def test_an_unknown_variable_is_detected(kind: type[Settings], name: str) -> None:
    assert unknown_variables(kind, {name: "1", "PATH": "/bin"}) == [name]


def test_a_misspelt_own_variable_is_detected() -> None:
    assert unknown_variables(EncoderSettings, {"FOVEA_ENCODER_MODLE": "x"}) == ["FOVEA_ENCODER_MODLE"]
    assert unknown_variables(DecoderSettings, {"FOVEA_DECODER_MAXCONTEXT": "x"}) != []


@pytest.mark.parametrize("kind", BOTH)
def test_variables_injected_by_kubernetes_are_accepted(kind: type[Settings]) -> None:
    assert unknown_variables(kind, KUBERNETES) == []


@pytest.mark.parametrize("kind", BOTH)
def test_variables_of_both_services_may_share_an_environment(kind: type[Settings]) -> None:
    """Each service ignores the other's variables."""
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


def refusal(kind: type[Settings], capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The line with which a start is refused."""
    with pytest.raises(SystemExit) as stopped:
        settings_of(kind, *argv)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_refusal_is_a_line_with_flag_variable_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(WithSecret, capsys, "--size", "many")
    assert "--size (FOVEA_ENCODER_SIZE)" in line
    assert "'many'" in line


def test_a_refused_secret_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    class Short(WithSecret):
        token: SecretStr = Field(SecretStr(""), max_length=3, description="A secret")

    assert "swordfish" not in refusal(Short, capsys, "--token", "swordfish")


def test_a_misspelt_variable_is_reported_with_its_correction(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load(EncoderSettings, [], program="t", description="t", environ={"FOVEA_ENCODER_MODLE": "x"})
    assert "FOVEA_ENCODER_MODLE (did you mean FOVEA_ENCODER_MODEL?)" in capsys.readouterr().err


def test_an_abbreviated_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """`--max-p` could become ambiguous, or another flag, in the next version."""
    assert "--max-pix" in refusal(EncoderSettings, capsys, "--model", "m", "--max-pix", "4")


@pytest.mark.parametrize("kind", BOTH)
def test_an_empty_variable_switches_the_metrics_off(
    kind: type[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kind.variable("metrics_listen"), "")
    assert settings_of(kind, "--model", "m").metrics_listen == ""  # type: ignore[attr-defined]
    chosen = settings_of(kind, "--model", "m", "--metrics-listen", "127.0.0.1:1")
    assert chosen.metrics_listen == "127.0.0.1:1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", BOTH)
def test_every_setting_that_says_empty_accepts_it(
    kind: type[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the description mentions an empty value, an empty variable works."""
    promised = [name for name, field in kind.model_fields.items() if "empty" in (field.description or "")]
    assert "metrics_listen" in promised
    for name in promised:
        monkeypatch.setenv(kind.variable(name), "")
    chosen = settings_of(kind, "--model", "m")
    assert [getattr(chosen, name) for name in promised] == [""] * len(promised)


def test_any_other_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_DECODER_MAX_CONTEXT", "")
    assert settings_of(DecoderSettings, "--model", "m").max_context == 8192  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        (
            "--listen",
            [
                "127.0.0.1",
                "127.0.0.1:",
                ":50051",
                "127.0.0.1:99999",
                "127.0.0.1:-1",
                "http://a:1",
                "a:1:2",
                "",
            ],
        ),
        ("--metrics-listen", ["nonsense", "127.0.0.1:99999", "9101"]),
        ("--device", ["tpu", "gpu", "cuda:", "cuda:x", "cuda:0,cuda:0", "cpu,", ""]),
        ("--dtype", ["int8"]),
        ("--threads", ["-1", "1.5", "abc", "1000000"]),
        ("--grace-s", ["-1", "nan", "inf"]),
        ("--max-message-bytes", ["0", "4294967296"]),
    ],
)
@pytest.mark.parametrize("kind", BOTH)
def test_a_value_that_cannot_work_is_refused_with_its_flag(
    kind: type[Settings], flag: str, values: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for value in values:
        assert f"{flag} (" in refusal(kind, capsys, "--model", "m", f"{flag}={value}"), value


@pytest.mark.parametrize(
    "value",
    [
        "a:1;b:2",
        "http://a:1",
        "a",
        "a:",
        "a:0",
        "a:70000",
        "a:1,,b:2",
        "a:1,",
        ",",
        "a b:1",
        "dns:///a:1,b:2",
    ],
)
def test_empty_encoder_lists_are_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--encoders (FOVEA_ENCODERS)" in refusal(
        DecoderSettings, capsys, "--model", "m", f"--encoders={value}"
    )


@pytest.mark.parametrize("value", ["a:1", "a:1, b.example:2", "[::1]:5", "127.0.0.1:50051", "dns:///a.b:1"])
def test_encoders_by_host_and_port_are_taken(value: str) -> None:
    settings_of(DecoderSettings, "--model", "m", f"--encoders={value}")


@pytest.mark.parametrize("value", ["abc", "sha256:", "sha256:" + "g" * 64, "a" * 64])
def test_an_invalid_fingerprint_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--fingerprint (" in refusal(DecoderSettings, capsys, "--model", "m", "--fingerprint", value)


@pytest.mark.parametrize(
    ("kind", "argv"),
    [
        (DecoderSettings, ["--max-new-tokens", "9000"]),
        (DecoderSettings, ["--max-context", "128", "--max-new-tokens", "129"]),
        (DecoderSettings, ["--max-new-tokens", "10", "--default-max-new-tokens", "20"]),
        (DecoderSettings, ["--max-context", "4096", "--kv-tokens", "1024"]),
        (DecoderSettings, ["--max-visual-tokens", "10", "--min-tokens", "20"]),
        (DecoderSettings, ["--max-short-side", "20", "--max-long-side", "10"]),
        (DecoderSettings, ["--price-per-million-patches", "1"]),
        (DecoderSettings, ["--reduction", "strong", "--keep", "0.5"]),
        (EncoderSettings, ["--uploads-bytes", "1048576", "--max-image-bytes", "1048576"]),
    ],
)
def test_limits_that_contradict_each_other_are_refused(
    kind: type[Settings], argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    refusal(kind, capsys, "--model", "m", *argv)


def test_a_default_is_clamped_by_a_smaller_limit() -> None:
    """Setting a single limit does not require knowing all others."""
    settings_of(DecoderSettings, "--model", "m", "--max-context", "64")
    settings_of(DecoderSettings, "--model", "m", "--max-new-tokens", "8")
    settings_of(EncoderSettings, "--model", "m", "--uploads-bytes", "1048576")


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


@pytest.mark.long
@pytest.mark.parametrize("package", ["encoder_svc", "decoder_svc"])
def test_a_folder_that_is_no_checkpoint_ends_the_process_with_a_line(package: str, tmp_path: Path) -> None:
    """As a process: status 1, the reason, and no traceback."""
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


def test_variables_of_a_developer_decide_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEA_DECODER_KEEP", "0.5")
    pytest_configure()
    assert "FOVEA_DECODER_KEEP" not in os.environ
