"""`fovea serve`: runs encoder, decoder and, if asked to, the gateway in a terminal, for development.

In production each runs alone.

All other settings of the services come from the environment, as for the services themselves.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from fovea.address import listened
from fovea.checkpoint import check_folder
from fovea.cli.children import Child, Children, Launch, Listener
from fovea.cli.errors import ServiceDied
from fovea.cli.options import DECODER, ENCODER, GATEWAY
from fovea.cli.output import console, reported
from fovea.cli.standin import is_standin, standin_dir
from fovea.contract.errors import FoveaError

LOAD_S = 3600.0
"""Loading 60 GB from a slow disk is not a failure."""
TLS_VARIABLES = ("FOVEA_ENCODER_TLS_CERT", "FOVEA_DECODER_TLS_CERT", "FOVEA_GATEWAY_TLS_CERT")


def serve(
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A checkpoint folder. Default: the stand-in, a small Qwen3-VL-MoE (package fovea-standin).",
        ),
    ] = None,
    encoder_listen: Annotated[
        str, typer.Option(envvar="FOVEA_ENCODER_LISTEN", metavar="HOST:PORT", help="The encoder's address.")
    ] = ENCODER,
    decoder_listen: Annotated[
        str, typer.Option(envvar="FOVEA_DECODER_LISTEN", metavar="HOST:PORT", help="The decoder's address.")
    ] = DECODER,
    with_gateway: Annotated[
        bool, typer.Option("--gateway", help="Run the gateway too: the OpenAI API over HTTP, and a page.")
    ] = False,
    gateway_listen: Annotated[
        str, typer.Option(envvar="FOVEA_GATEWAY_LISTEN", metavar="HOST:PORT", help="The gateway's address.")
    ] = GATEWAY,
) -> None:
    """Run encoder and decoder in this terminal until Ctrl-C."""
    from fovea.cli.readiness import answers_http, wait_until_ready

    out = console()
    with reported(as_json=False):
        folder = model or standin_dir()
    _check_start(folder, encoder_listen, decoder_listen, *([gateway_listen] if with_gateway else ()))
    with Children(os.environ, _printer()) as children:
        stop = _Stop(children)
        waiting = [children.start(launch) for launch in launches(folder, encoder_listen, decoder_listen)]
        gateways = [children.start(launch_gateway(gateway_listen, decoder_listen))] if with_gateway else []
        out.print(f"fovea   | loading {folder}; Ctrl-C ends all services")
        try:
            wait_until_ready(children, waiting, LOAD_S, _ready, stop.wait)
            wait_until_ready(children, gateways, LOAD_S, _ready, stop.wait, answers_http)
            if not stop.wait(0):
                out.print(f"fovea   | try: fovea ask IMAGE -q TEXT --decoder {decoder_listen}")
                for each in gateways:
                    out.print(
                        f"fovea   | the page: http://{each.address}/, the OpenAI API: http://{each.address}/v1"
                    )
            while not stop.wait(0.2):
                children.check()
        except ServiceDied as died:
            typer.echo(f"fovea: {died.message}; the others are stopped", err=True)
            raise typer.Exit(died.status) from None
        out.print("fovea   | stopping")


def _check_start(folder: Path, *addresses: str) -> None:
    """Exit with status 2 and a single line for what either service would refuse at start."""
    try:
        if served := [name for name in TLS_VARIABLES if os.environ.get(name)]:
            raise ValueError(f"{served[0]}: `fovea serve` runs without TLS; start each service alone for it")
        check_folder(folder)
        for address in addresses:
            listened(address)
        if len({*addresses}) < len(addresses):
            twice = next(each for each in addresses if addresses.count(each) > 1)
            raise ValueError(f"two services would listen on {twice}")
    except (FoveaError, ValueError) as error:
        typer.echo(f"fovea: {error}", err=True)
        raise typer.Exit(2) from None


def launches(
    model: Path,
    encoder: str,
    decoder: str,
    encoder_flags: Sequence[str] = (),
    decoder_flags: Sequence[str] = (),
) -> tuple[Launch, Launch]:
    """How to start both services on a checkpoint, with the decoder connected to the encoder."""
    from fovea.cli.readiness import reachable

    common = ["--model", str(model), *_title(model), "--listen"]
    encoders = ["--encoders", reachable(encoder)]
    first = [*common, encoder, *_half_of_the_cores("FOVEA_ENCODER_THREADS"), *encoder_flags]
    second = [*common, decoder, *encoders, *_half_of_the_cores("FOVEA_DECODER_THREADS"), *decoder_flags]
    return (
        Launch("encoder", "encoder_svc", encoder, first),
        Launch("decoder", "decoder_svc", decoder, second),
    )


def launch_gateway(listen: str, decoder: str) -> Launch:
    """How to start the gateway in front of a decoder."""
    from fovea.cli.readiness import reachable

    return Launch("gateway", "gateway_svc", listen, ["--listen", listen, "--decoder", reachable(decoder)])


def _title(model: Path) -> list[str]:
    return ["--served-model-name", "fovea-standin"] if is_standin(model) else []


def _half_of_the_cores(variable: str) -> list[str]:
    """Two services that each use every core are several times slower than two that share them."""
    if variable in os.environ:
        return []
    return ["--threads", str(max(1, (os.cpu_count() or 1) // 2))]


class _Stop:
    """Stop request by Ctrl-C, SIGTERM or SIGHUP. The second request kills the services at once."""

    def __init__(self, children: Children) -> None:
        self._event = threading.Event()
        self._children = children
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._on_signal)

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            self._children.kill()
        self._event.set()


def _ready(child: Child, seconds: float) -> None:
    console().print(f"fovea   | the {child.name} is ready on {child.address} after {seconds:.1f} s")


def _printer() -> Listener:
    """Prints log lines prefixed with the service's name, atomically."""
    out, lock = console(), threading.Lock()

    def show(name: str, line: str) -> None:
        with lock:
            out.print(f"{name:<8}| ", style="dim", end="")
            out.print(line)

    return show
