"""The commands by name. Each lives in its own module and imports what it needs when it runs."""

from __future__ import annotations

import typer

from fovea.cli.ask import ask
from fovea.cli.cache import delete, stats
from fovea.cli.count import count
from fovea.cli.demo import demo
from fovea.cli.info import info
from fovea.cli.plan import plan
from fovea.cli.put import put
from fovea.cli.serve import serve
from fovea.cli.show_tokens import show_tokens

app = typer.Typer(
    help="Ask about images, and know what every visual token costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
cache = typer.Typer(help="Look into an encoder's cache, or remove an image from it.", no_args_is_help=True)

app.command()(serve)
app.command()(ask)
app.command()(count)
app.command()(plan)
app.command("show-tokens")(show_tokens)
app.command()(put)
app.command()(info)
app.command()(demo)
cache.command()(stats)
cache.command()(delete)
app.add_typer(cache, name="cache")
