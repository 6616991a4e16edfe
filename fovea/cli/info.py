"""`fovea info`: what both services say of themselves, as far as they can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from fovea.cli.options import DECODER, ENCODER, DecoderAddress, EncoderAddress, Json, Token
from fovea.cli.output import emit, reported
from fovea.contract.errors import FoveaError

if TYPE_CHECKING:
    from fovea.client import ServerInfo

HINT = "Start both services with `fovea serve`, or name others with --decoder and --encoder"
TIMEOUT_S = 10.0
SILENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
"""Reasons of a service that does not answer; with any other it has answered."""


def info(
    as_json: Json = False,
    token: Token = "",
    decoder: DecoderAddress = DECODER,
    encoder: EncoderAddress = ENCODER,
) -> None:
    """Print model, state, limits and load of both services."""
    from fovea.client import Client, EncoderClient

    found: dict[str, ServerInfo | None] = {"decoder": None, "encoder": None}
    failures: list[FoveaError] = []
    with reported(as_json, HINT):
        for name, kind, address in (("decoder", Client, decoder), ("encoder", EncoderClient, encoder)):
            with kind(address, token or None, timeout_s=TIMEOUT_S) as client:
                try:
                    found[name] = client.info()
                except FoveaError as failure:
                    if failure.reason not in SILENT:
                        raise
                    failures.append(failure)
        if len(failures) == len(found):
            raise failures[0]
    addresses = {"decoder": decoder, "encoder": encoder}
    if as_json:
        emit(**{name: one and _fields(one, addresses[name]) for name, one in found.items()})
        return
    for name, one in found.items():
        typer.echo("\n".join(_lines(name, addresses[name], one)))


def _fields(one: ServerInfo, address: str) -> dict[str, Any]:
    fields = {**vars(one), "address": address, "features": list(one.features)}
    details = fields.pop("details")
    return {**fields, **details}


def _lines(name: str, address: str, one: ServerInfo | None) -> list[str]:
    if one is None:
        return [f"{name}  {address}  cannot be reached"]
    progress = "" if one.state != "loading" else f" ({one.progress:.0%})"
    lines = [f"{name}  {address}  {one.state}{progress}  version {one.version}"]
    rows = [("model", one.model), ("rows", one.fingerprint or "not known yet"), ("dtype", one.dtype)]
    plain = {key: value for key, value in one.details.items() if value and isinstance(value, str | int)}
    rows += [(key, str(value)) for key, value in plain.items()]
    rows += [("features", ", ".join(one.features))] if one.features else []
    rows += [("load", _figures(one.load)), ("limits", _figures(one.limits))]
    rows += [("encoder", _peer(peer)) for peer in one.details.get("encoders", ())]
    return [*lines, *(f"  {key:<20}{value}" for key, value in rows)]


def _figures(values: Any) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def _peer(peer: dict[str, Any]) -> str:
    if not peer["reachable"]:
        return f"{peer['address']} cannot be reached"
    fit = "its rows fit" if peer["compatible"] else "ITS ROWS DO NOT FIT"
    return f"{peer['name']} at {peer['address']}, {fit}, {peer['encodes']} encoded"
