"""Connections to PostgreSQL that never wait for ever.

The server cuts slow statements and lock waits itself. A frozen server, or a lost host, cuts nothing: the
client gives up once the server has been silent for SILENCE_S.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Engine, create_engine, event

CONNECT_S = 5
LOCK_S = 5
STATEMENT_S = 10
SILENCE_S = 12.0
"""Longer than STATEMENT_S: a server that is only slow cuts its statements itself."""
T = TypeVar("T")


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a silent server. `closing` ends every wait at once."""

    closing: threading.Event

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Passes `gen` on to psycopg, which resumes it with 0 every tenth of a second of silence.

        The state of a connection whose wait was cut is unknown, so the connection is closed.
        """
        until = time.monotonic() + SILENCE_S
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready and (self.closing.is_set() or time.monotonic() > until):
                    gen.close()
                    self.close()
                    raise psycopg.OperationalError("the server does not answer")
                state = gen.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result


def open_engine(url: URL, closing: threading.Event) -> Engine:
    """An engine that has not connected yet."""
    limits = {"statement_timeout": STATEMENT_S * 1000, "lock_timeout": LOCK_S * 1000}
    arguments = {
        "connect_timeout": CONNECT_S,
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
        "tcp_user_timeout": STATEMENT_S * 1000,
        "application_name": "fovea",
    }
    engine = create_engine(url, pool_pre_ping=True, pool_timeout=CONNECT_S, connect_args=arguments)

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, positional: list[Any], named: dict[str, Any]) -> BoundedConnection:
        connection = BoundedConnection.connect(*positional, **named)
        connection.closing = closing
        return connection

    return engine
