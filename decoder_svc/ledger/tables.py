"""The tables of the ledger.

`VERSION` counts changes that an older decoder cannot use; the database says which version it has. A missing
table is made.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

VERSION = 1

metadata = MetaData()

schema = Table("ledger_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

# What each tenant has spent and reserved on a UTC day.
quota_days = Table(
    "ledger_quota_days",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("day", String, primary_key=True),
    Column("tokens", BigInteger, nullable=False),
    Column("amount", Double, nullable=False),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("reserved_amount", Double, nullable=False),
)

# The id of a reservation is that of the record that settles it.
reservations = Table(
    "ledger_reservations",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("day", String, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("amount", Double, nullable=False),
    Column("expires", Double, nullable=False, index=True),
)

# What the retries of a call were charged, and how many there were.
charges = Table(
    "ledger_charges",
    metadata,
    Column("key", String, primary_key=True),
    Column("tokens", BigInteger, nullable=False),
    Column("amount", Double, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("expires", Double, nullable=False, index=True),
)

# Changes in the use of tenants, in the order in which they were stored.
anomalies = Table(
    "ledger_anomalies",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("time", Double, nullable=False),
    Column("request_id", String, nullable=False),
    Column("image_kind", String, nullable=False),
    Column("usual", Double, nullable=False),
    Column("value", Double, nullable=False),
)

requests = Table(
    "ledger_requests",
    metadata,
    # The order of insertion; SQLite numbers only columns of type INTEGER.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("request_id", String, nullable=False, index=True),
    Column("parent_request_id", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("started", Double, nullable=False, index=True),
    Column("hour", String, nullable=False),
    Column("method", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("model", String, nullable=False),
    Column("tier", String, nullable=False),
    Column("image_kind", String, nullable=False),
    Column("text_tokens", BigInteger, nullable=False),
    Column("visual_tokens", BigInteger, nullable=False),
    Column("naive_visual_tokens", BigInteger, nullable=False),
    Column("cached_prompt_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("encodes", BigInteger, nullable=False),
    Column("wire_bytes", BigInteger, nullable=False),
    Column("amount", Double, nullable=False),
    Column("naive_amount", Double, nullable=False),
    Column("currency", String, nullable=False),
    # The whole receipt as a message of the contract: new fields need no new column.
    Column("receipt", LargeBinary, nullable=False),
    Index("ledger_requests_tenant_seq", "tenant", "seq"),
)
