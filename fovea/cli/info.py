"""`fovea info`: what both services report about themselves, as far as they are reachable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from fovea.cli.options import DECODER, ENCODER, Access, DecoderAddress, EncoderAddress, Json, takes_access
from fovea.cli.output import emit, reported
from fovea.contract.errors import FoveaError

if TYPE_CHECKING:
    from fovea.client import ServerInfo

HINT = "Start both services with `fovea serve`, or name others with --decoder and --encoder"
TIMEOUT_S = 10.0
SILENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
"""Reasons of a service that does not respond; any other reason is a response."""


@takes_access
def info(
    access: Access,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
    encoder: EncoderAddress = ENCODER,
) -> None:
    """Print model, state, limits and load of both services."""
    from fovea.client import Client, EncoderClient

    infos: dict[str, ServerInfo | None] = {"decoder": None, "encoder": None}
    failures: list[FoveaError] = []
    with reported(as_json, HINT):
        for name, kind, address in (("decoder", Client, decoder), ("encoder", EncoderClient, encoder)):
            with kind(address, access.token, timeout_s=TIMEOUT_S, tls=access.tls()) as client:
                try:
                    infos[name] = client.info()
                except FoveaError as failure:
                    if failure.reason not in SILENT:
                        raise
                    failures.append(failure)
        if len(failures) == len(infos):
            raise failures[0]
    addresses = {"decoder": decoder, "encoder": encoder}
    if as_json:
        emit(**{name: server and _fields(server, addresses[name]) for name, server in infos.items()})
        return
    for name, server in infos.items():
        typer.echo("\n".join(_lines(name, addresses[name], server)))


def _fields(server: ServerInfo, address: str) -> dict[str, Any]:
    fields = {**vars(server), "address": address, "features": list(server.features)}
    details = fields.pop("details")
    return {**fields, **details}


def _lines(name: str, address: str, server: ServerInfo | None) -> list[str]:
    if server is None:
        return [f"{name}  {address}  cannot be reached"]
    progress = "" if server.state != "loading" else f" ({server.progress:.0%})"
    lines = [f"{name}  {address}  {server.state}{progress}  version {server.version}"]
    rows = [("model", server.model), ("rows", server.fingerprint or "not known yet"), ("dtype", server.dtype)]
    plain = {key: value for key, value in server.details.items() if value and isinstance(value, str | int)}
    rows += [(key, str(value)) for key, value in plain.items()]
    rows += [("features", ", ".join(server.features))] if server.features else []
    rows += [("load", _figures(server.load)), ("limits", _figures(server.limits))]
    rows += [("tier", _tier(tier)) for tier in server.details.get("tiers", ())]
    rows += [("encoder", _encoder(encoder)) for encoder in server.details.get("encoders", ())]
    return [*lines, *(f"  {key:<20}{value}" for key, value in rows)]


def _figures(values: Any) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def _tier(tier: dict[str, Any]) -> str:
    time = f", {tier['dummy_ms']:.1f} ms for a dummy request" if "dummy_ms" in tier else ""
    kept = f", keeps {tier['kept_share']:.0%}" if "kept_share" in tier else ""
    return f"{tier['name']}, {tier['kind']}{time}{kept}"


def _encoder(encoder: dict[str, Any]) -> str:
    if not encoder["reachable"]:
        return f"{encoder['address']} cannot be reached"
    fit = "its rows fit" if encoder["compatible"] else "ITS ROWS DO NOT FIT"
    return f"{encoder['name']} at {encoder['address']}, {fit}, {encoder['encodes']} encoded"
