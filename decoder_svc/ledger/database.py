"""The database of the ledger: an SQLite file in WAL mode, or PostgreSQL for several decoders.

Every wait is bounded: for connections, locks, statements, and a server that is frozen. The schema is made at
the first use.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from decoder_svc.ledger.tables import VERSION, metadata, schema
from fovea.contract.errors import LedgerUnavailable

WAIT_S = 5
FILE = "ledger.sqlite"
SCHEMA_LOCK = 0x666F766561  # an advisory lock of PostgreSQL: several decoders may start at once


def database_url(folder: Path, url: str) -> URL:
    """The URL of PostgreSQL if there is one, otherwise that of the file in `folder`.

    Raises ValueError for what is not a URL, without its text, which may hold a password.
    """
    if url:
        try:
            return make_url(url).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError):
            raise ValueError("ledger_url is not a URL of the form postgresql://user@host:port/name") from None
    return URL.create("sqlite", database=str(folder / FILE))


class Database:
    """Connections to the ledger's database. Thread-safe. Creating it connects to nothing."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._opened = False
        self._closing = threading.Event()
        self._engine = _sqlite(url) if self.is_sqlite else _postgres(url, self._closing)

    @property
    def is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def open(self) -> None:
        """Make the schema. Raises LedgerUnavailable for a schema of a newer version."""
        if self._opened:
            return
        if self.is_sqlite:
            _make_private(Path(str(self._url.database)))
        with self._begin("IMMEDIATE") as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
            metadata.create_all(connection)
            _check_version(connection)
        self._opened = True

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes."""
        self.open()
        with self._begin("IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads. Neither blocks writers nor is blocked by them."""
        self.open()
        with self._begin("DEFERRED") as connection:
            yield connection

    def close(self) -> None:
        """Close all connections. A thread that waits for PostgreSQL fails at once."""
        self._closing.set()
        self._engine.dispose()

    @contextmanager
    def _begin(self, sqlite_mode: str) -> Iterator[Connection]:
        """After a failure the schema is checked again: the database may have been replaced."""
        try:
            with self._engine.execution_options(sqlite_mode=sqlite_mode).begin() as connection:
                yield connection
        except SQLAlchemyError:
            self._opened = False
            raise


def _make_private(file: Path) -> None:
    """Make folder and file, readable by this user only. SQLite gives the files beside it the same mode."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():  # closing an open file would drop SQLite's locks of it
        file.touch(mode=0o600)


def _check_version(connection: Connection) -> None:
    version = connection.scalar(select(schema.c.version))
    if version is None:
        connection.execute(insert(schema).values(version=VERSION))
    elif version != VERSION:
        raise LedgerUnavailable(f"its schema has version {version}; this decoder knows version {VERSION}")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # `begin` begins transactions, not the driver
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options()['sqlite_mode']}")

    return engine


def _postgres(url: URL, closing: threading.Event) -> Engine:
    """Raises ValueError if the driver is not installed."""
    if find_spec("psycopg") is None:
        raise ValueError("ledger_url needs psycopg: pip install 'fovea[postgres]'")
    from decoder_svc.ledger.postgres import open_engine

    return open_engine(url, closing)
