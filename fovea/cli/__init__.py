"""The `fovea` command: start both services, ask, count, store, look.

It talks to the services like any other caller. Nothing heavy is imported before a command needs it, so
`--help` and `count` answer at once.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `fovea` script."""
    from fovea.cli.app import app
    from fovea.cli.streams import guarded

    with guarded():
        app(prog_name="fovea")
