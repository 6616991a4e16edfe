"""A PostgreSQL server of our own: on a Unix socket in a folder of its own, as an unprivileged user.

The program is Debian's package `postgresql`; only its binaries are used.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

START_S = 60.0
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def is_installed() -> bool:
    return bool(PROGRAMS)


class PostgresServer:
    """Initialised, not started."""

    def __init__(self) -> None:
        self._bin = PROGRAMS[-1].parent
        self._folder = Path(tempfile.mkdtemp(prefix="fovea-pg-"))
        self._user = _unprivileged()
        for user in self._user.values():
            os.chown(self._folder, user, -1)
        self._child: subprocess.Popen[bytes] | None = None
        initdb = [self._bin / "initdb", "--pgdata", self._data, "--username", "fovea", "--auth", "trust",
                  "--encoding", "UTF8", "--locale", "C", "--no-sync"]  # fmt: skip
        subprocess.run(
            initdb, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, timeout=START_S, **self._user
        )

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://fovea@/{database}?host={self._folder}"

    def start(self) -> None:
        """Returns once it answers."""
        command = [
            self._bin / "postgres",
            "-D",
            self._data,
            "-k",
            self._folder,
            "-c",
            "listen_addresses=",
            "-F",
        ]
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._user)
        until = time.monotonic() + START_S
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"d{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self) -> None:
        """At once: open connections are lost."""
        if self._child is not None:
            self.thaw()
            self._child.send_signal(signal.SIGINT)
            self._child.wait(START_S)
            self._child = None

    def freeze(self) -> None:
        """Stop its processes without ending them: connections stay open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """To the server first, so that it starts no process meanwhile, then to that of each connection."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)
            for child in _children(self._child.pid):
                with suppress(ProcessLookupError):  # its connection has just ended
                    os.kill(child, number)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        engine = create_engine(
            self.url().replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
        )
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _unprivileged() -> dict[str, Any]:
    """The user to start the server as: PostgreSQL refuses root."""
    if os.getuid():
        return {}
    return {"user": pwd.getpwnam("nobody").pw_uid}
