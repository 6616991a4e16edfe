"""The `fovea` command: starts both services, asks, counts, stores, inspects.

It calls the services like any other client. Heavy imports happen only when a command needs them, so `--help`
and `count` respond at once.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `fovea` script."""
    from fovea.cli.app import app
    from fovea.cli.streams import guarded

    with guarded():
        app(prog_name="fovea")
