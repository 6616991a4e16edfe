"""`fovea gateway`: replaces this process by the gateway, whose settings are its flags."""

from __future__ import annotations

import os
import sys

import typer

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""The gateway parses its flags itself, `--help` too."""


def gateway(context: typer.Context) -> None:
    """Serve the OpenAI API over HTTP, and a page. `fovea gateway --help` lists the settings."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "gateway_svc", *context.args])
