"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from fovea.client import Tls

UINT32 = 2**32 - 1

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")]
DecoderAddress = Annotated[
    str,
    typer.Option(
        "--decoder",
        envvar="FOVEA_DECODER",
        metavar="HOST:PORT",
        help="Where the decoder is; of several, separated by commas, one is chosen by the image.",
    ),
]
EncoderAddress = Annotated[
    str, typer.Option("--encoder", envvar="FOVEA_ENCODER", metavar="HOST:PORT", help="Where the encoder is.")
]

DECODER_HINT = "Start both services with `fovea serve`, or name another decoder with --decoder"
ENCODER_HINT = "Start both services with `fovea serve`, or name another encoder with --encoder"

# Equal to fovea.client's, which is not imported for `--help`; a test compares them.
DECODER = "127.0.0.1:50052"
ENCODER = "127.0.0.1:50051"
GATEWAY = "127.0.0.1:8080"

_PANEL = "Credentials"


def _credential(flag: str, help: str, variable: str | None = None, metavar: str | None = None) -> Any:
    return typer.Option(
        flag, envvar=variable, help=help, metavar=metavar, rich_help_panel=_PANEL, show_default=False
    )


@dataclass(frozen=True)
class Access:
    """The credentials of a command."""

    token: Annotated[str, _credential("--token", "Bearer token.", "FOVEA_TOKEN")] = ""
    use_tls: Annotated[bool, _credential("--tls", "Use TLS, with the roots that gRPC brings.")] = False
    ca: Annotated[str, _credential("--ca", "Use TLS, with this CA (PEM).", "FOVEA_CA", "FILE")] = ""
    cert: Annotated[str, _credential("--cert", "Client certificate (PEM).", "FOVEA_CERT", "FILE")] = ""
    key: Annotated[str, _credential("--key", "Its private key (PEM).", "FOVEA_KEY", "FILE")] = ""
    server_name: Annotated[
        str, _credential("--server-name", "The name in the server's certificate.", metavar="NAME")
    ] = ""

    def tls(self) -> Tls | None:
        """None for a connection in plain text. Every option about certificates asks for TLS."""
        if not (self.use_tls or self.ca or self.cert or self.key or self.server_name):
            return None
        from fovea.client import Tls

        return Tls(self.ca or None, self.cert or None, self.key or None, self.server_name)


def takes(parameter: str, kind: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that replaces a command's parameter by all options of the dataclass `kind`."""
    hints = get_type_hints(kind, include_extras=True)
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            command(**{parameter: kind(**{name: values.pop(name) for name in hints})}, **values)

        own = inspect.signature(command, eval_str=True).parameters.values()
        rest = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own if item.name != parameter]
        run.__signature__ = inspect.Signature([*rest, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in [*rest, *options]}
        return run

    return decorate


takes_access = takes("access", Access)
"""Replaces a command's parameter `access` by all options of Access."""


@dataclass(frozen=True)
class Route:
    """Which tiers of a decoder may answer."""

    tier: Annotated[str, typer.Option("--tier", metavar="NAME", help="The tier that must answer.")] = ""
    hop_limit: Annotated[
        int,
        typer.Option(
            "--hop-limit", min=0, max=UINT32, help="The most tiers that may run a model; 0 is no limit."
        ),
    ] = 0


takes_route = takes("route", Route)
"""Replaces a command's parameter `route` by all options of Route."""
