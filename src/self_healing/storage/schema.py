"""The tables of the state, for SQLite and PostgreSQL alike.

A record is stored whole, as JSON, in the column ``record``; the columns beside it are copies of the fields that are
looked up. What is not a record (panes, offsets, counters) is written as the engine packs it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

metadata = MetaData()


def _sequence() -> Column[int]:
    """Numbers the rows of a table in the order in which they came."""
    return Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _record_table(name: str, *fields: str) -> Table:
    columns = [Column(field, String, nullable=True) for field in fields]
    table = Table(
        name,
        metadata,
        _sequence(),
        Column("id", String, nullable=False, unique=True),
        *columns,
        Column("record", Text, nullable=False),
    )
    for field in fields:
        Index(f"ix_{name}_{field}", table.c[field])
    return table


incidents = _record_table("incidents", "trigger", "state", "closed_at", "parent", "agent")
decisions = _record_table("decisions", "incident", "outcome")
directives = _record_table("directives", "agent", "owner", "open")
handoffs = _record_table("handoffs", "incident", "execution", "status", "about", "target_agent")
verifications = _record_table("verifications", "incident", "open")
lessons = _record_table("lessons", "trigger", "action")
approvals = _record_table("approvals", "plan", "open")
silences = _record_table("silences", "open")

executions = Table(
    "executions",
    metadata,
    _sequence(),
    Column("id", String, nullable=False, unique=True),
    Column("incident", String, nullable=False, index=True),
    Column("status", String, nullable=False, index=True),
    Column("key", String, nullable=True),
    # No execution without a decision that is on record: the database itself refuses one.
    Column("decision", String, ForeignKey("decisions.id"), nullable=False),
    Column("updated_at", String, nullable=True, index=True),
    Column("record", Text, nullable=False),
)
Index(
    "ux_executions_key",
    executions.c.key,
    unique=True,
    sqlite_where=text("key IS NOT NULL"),
    postgresql_where=text("key IS NOT NULL"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("payload", Text, nullable=False),  # canonical JSON
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
)

transitions = Table(
    "transitions",
    metadata,
    _sequence(),
    Column("at", String, nullable=False, index=True),
    Column("trigger", String, nullable=False),
    Column("record", Text, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    _sequence(),
    Column("file", String, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("reason", String, nullable=False),
)

panes = Table(
    "panes",
    metadata,
    Column("table_key", String, primary_key=True),  # signal, where and group_by, hashed
    Column("level", Integer, primary_key=True),  # seconds a pane: 10 or 900
    Column("slot", BigInteger, primary_key=True),  # start of the pane / level
    Column("columns", LargeBinary, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),  # accounting, positions, engine, overrides, ...
    Column("value", LargeBinary, nullable=False),
)
