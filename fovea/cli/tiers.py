"""`fovea tiers check`: checks a tiers file as the decoder would, and prints what each tier costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fovea.cli.options import DECODER, DECODER_HINT, Access, Json, takes_access
from fovea.cli.output import emit, reported

CHECK_S = 60.0
"""Imports of the decoder's settings take a few seconds."""


@takes_access
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The TOML file of a decoder's setting tiers.")],
    access: Access,
    listen: Annotated[
        str,
        typer.Option(envvar="FOVEA_DECODER_LISTEN", metavar="HOST:PORT", help="The decoder's own address."),
    ] = DECODER,
    decoder: Annotated[
        str,
        typer.Option(
            "--decoder", metavar="HOST:PORT", help="A decoder that runs with the file: adds its times."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Check a tiers file, and print what each tier costs. Exits with 2 if a decoder would refuse it."""
    tiers = _checked(file, listen)
    if decoder:
        measured = _measured(decoder, access, as_json)
        tiers = [tier | measured.get(tier["name"], {}) for tier in tiers]
    if as_json:
        emit(tiers=tiers)
    else:
        typer.echo("\n".join(map(_line, tiers)))


def _checked(file: Path, listen: str) -> list[dict[str, Any]]:
    """The tiers of the file, read in a process of the decoder's code."""
    command = [sys.executable, "-m", "decoder_svc.tiers.check", str(file), "--listen", listen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)
    if done.returncode:
        typer.echo(f"fovea: {done.stderr.strip().splitlines()[-1]}", err=True)
        raise typer.Exit(done.returncode)
    tiers: list[dict[str, Any]] = json.loads(done.stdout)
    return tiers


def _measured(decoder: str, access: Access, as_json: bool) -> Mapping[str, dict[str, Any]]:
    """What a running decoder has measured of its tiers, by name."""
    from fovea.client import Client

    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as client:
        return {tier["name"]: tier for tier in client.info().details.get("tiers", ())}


def _line(tier: Mapping[str, Any]) -> str:
    """A tier in a line: name, kind, condition, price, and what was measured."""
    parts = [f"{tier['name']:<12}", f"{tier['kind']:<8}", _price(tier)]
    if "dummy_ms" in tier:
        parts.append(f"{tier['dummy_ms']:.1f} ms for a dummy request")
    if "kept_share" in tier:
        parts.append(f"keeps {tier['kept_share']:.0%}")
    if tier["when"]:
        parts.append("when " + ", ".join(f"{key} {_listed(value)}" for key, value in tier["when"].items()))
    return "  ".join(parts)


def _price(tier: Mapping[str, Any]) -> str:
    if tier["price"]:
        return ", ".join(f"{value:g} {key}" for key, value in tier["price"].items() if value) + " per million"
    if tier["kind"] == "model":
        return "the decoder's own prices"
    return "the other decoder's prices" if tier["kind"] == "decoder" else "free"


def _listed(value: Any) -> str:
    return (
        "|".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )
