"""The compose file is well formed, sets only existing settings, and publishes only loopback ports."""

from __future__ import annotations

import re
from typing import Any

import pytest

from decoder_svc.settings import DecoderSettings
from encoder_svc.settings import EncoderSettings
from fovea.settings import unknown_variables
from gateway_svc.settings import GatewaySettings
from tests.deploy.compose import FILE, ROOT, Service, parse, seconds, services
from tests.deploy.dockerfile import FILE as DOCKERFILE
from tests.deploy.dockerfile import command, image, stages

SETTINGS: dict[str, Any] = {
    "encoder_svc": EncoderSettings,
    "decoder_svc": DecoderSettings,
    "gateway_svc": GatewaySettings,
}
VARIABLES = {variable for kind in SETTINGS.values() for variable in kind.variables()}
SERVICES = services()


def package(service: Service) -> str:
    """`encoder_svc`, `decoder_svc` or `gateway_svc`: what its image runs."""
    return command(service.target)[-1]


EACH = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())


def chosen(service: Service, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The settings of the process in this container."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return SETTINGS[package(service)]()


def test_the_compose_file_has_a_gateway_a_decoder_and_two_encoders() -> None:
    packages = {name: package(service) for name, service in SERVICES.items()}
    assert packages == {
        "encoder-a": "encoder_svc", "encoder-b": "encoder_svc", "decoder": "decoder_svc", "gateway": "gateway_svc",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        ("restart: unless-stopped", "restart: sometimes"),
        ("mem_limit: 2g", "mem_limit: plenty"),
        ("init: true", "init: true\n  volume: []"),
        ("  retries: 3", "  retries: three"),
        ("services:", "servises:"),
        ("FOVEA_ENCODER_DEVICE: cpu", "FOVEA_ENCODER_DEVICE: cpu\n  FOVEA_ENCODER_DEVICE: cuda"),
        ('FOVEA_ENCODER_THREADS: "1"', "FOVEA_ENCODER_THREADS: 1"),
        ("- 127.0.0.1:9102:9102", "- 9102"),
    ],
)
def test_a_file_with_a_mistake_is_refused(change: tuple[str, str]) -> None:
    source = FILE.read_text()
    assert parse(source)
    assert change[0] in source
    with pytest.raises(ValueError, match=r"form|twice"):
        parse(source.replace(*change))


@EACH
def test_every_variable_is_a_setting_and_every_setting_is_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = SETTINGS[package(service)]
    assert set(service.environment) <= kind.variables()
    assert unknown_variables(kind, service.environment) == []
    settings = chosen(service, monkeypatch)
    for field in kind.model_fields:
        if value := service.environment.get(kind.variable(field)):
            assert str(getattr(settings, field)).lower() == value.lower()


@EACH
def test_services_restart_and_have_limits(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = service.fields
    assert fields["restart"] == "unless-stopped"
    assert fields["mem_limit"]
    assert (fields["cap_drop"], fields["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert (fields["read_only"], fields["tmpfs"]) == (True, ["/tmp"])
    grace = chosen(service, monkeypatch).grace_s
    assert seconds(fields["stop_grace_period"]) > grace, "it would be killed while calls still run"


@EACH
def test_health_checks_use_the_listen_port(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    port = chosen(service, monkeypatch).listen.rpartition(":")[2]
    assert f"'127.0.0.1:{port}'" in service.health[-1]
    assert set(service.fields["healthcheck"]) == {"test", "interval", "timeout", "retries", "start_period"}


@EACH
def test_ports_are_published_on_loopback_only(service: Service) -> None:
    for port in service.fields.get("ports", ()):
        host, outside, inside = port.split(":")
        assert (host, outside) == ("127.0.0.1", inside)
        assert inside in service.ports


def test_the_decoder_asks_every_encoder_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = [
        f"{name}:{chosen(service, monkeypatch).listen.rpartition(':')[2]}"
        for name, service in SERVICES.items()
        if package(service) == "encoder_svc"
    ]
    assert chosen(SERVICES["decoder"], monkeypatch).encoder_addresses == listening


def test_the_gateway_calls_the_decoder_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    port = chosen(SERVICES["decoder"], monkeypatch).listen.rpartition(":")[2]
    assert chosen(SERVICES["gateway"], monkeypatch).decoder == f"decoder:{port}"


def test_every_service_has_a_name_and_a_volume_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder keeps its store there, the decoder its ledger."""
    ledger = chosen(SERVICES["decoder"], monkeypatch).ledger_dir
    volumes = [SERVICES["decoder"].folders[str(ledger)]]
    for name, service in SERVICES.items():
        if package(service) == "encoder_svc":
            settings = chosen(service, monkeypatch)
            assert settings.name == name
            volumes.append(service.folders[str(settings.cache_dir)])
    assert sorted(volumes) == sorted(parse(FILE.read_text())["volumes"])


@EACH
def test_a_service_runs_its_own_image_built_here(service: Service) -> None:
    assert service.fields["image"] == image(service.target)
    build = service.fields["build"]
    context = (FILE.parent / build["context"]).resolve()
    assert context == ROOT
    assert context / build["dockerfile"] == DOCKERFILE
    assert service.target in stages()


def test_the_readme_names_files_and_services_that_there_are() -> None:
    text = (FILE.parent / "README.md").read_text()
    for path in re.findall(r"(?:deploy|standin)/[\w./-]+\w", text):
        assert (ROOT / path).exists(), path
    for variable in set(re.findall(r"FOVEA_[A-Z_]+", text)):
        assert variable in VARIABLES, variable
