"""The commands by name. Each has its own module and imports what it needs when it runs."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from fovea.cli.ask import ask
from fovea.cli.cache import delete, purge, stats
from fovea.cli.calibrate import calibrate
from fovea.cli.count import count
from fovea.cli.demo import demo
from fovea.cli.gateway import PASSED_ON, gateway
from fovea.cli.info import info
from fovea.cli.plan import plan
from fovea.cli.put import put
from fovea.cli.serve import serve
from fovea.cli.show_tokens import show_tokens
from fovea.cli.tiers import check
from fovea.cli.token import new
from fovea.cli.usage import usage


def _version(show: bool) -> None:
    if show:
        typer.echo(f"fovea {metadata.version('fovea')}")
        raise typer.Exit


app = typer.Typer(
    help="Ask about images, and know what every visual token costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)
cache = typer.Typer(help="Inspect an encoder's cache, remove images or a tenant.", no_args_is_help=True)
tiers = typer.Typer(help="Check a decoder's tiers file.", no_args_is_help=True)
token = typer.Typer(help="Make the bearer tokens that servers accept.", no_args_is_help=True)


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ask about images, and know what every visual token costs."""


app.command()(serve)
app.command(context_settings=PASSED_ON)(gateway)
app.command()(ask)
app.command()(count)
app.command()(plan)
app.command("show-tokens")(show_tokens)
app.command()(put)
app.command()(info)
app.command()(usage)
app.command()(calibrate)
app.command()(demo)
cache.command()(stats)
cache.command()(delete)
cache.command()(purge)
app.add_typer(cache, name="cache")
tiers.command()(check)
app.add_typer(tiers, name="tiers")
token.command()(new)
app.add_typer(token, name="token")
