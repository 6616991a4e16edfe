"""The JSON endpoints that the page needs beside those of the OpenAI API, under /page/api/."""

from __future__ import annotations

from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """The page and its endpoints."""
    return []
