"""Which agent an incident is about, and a handoff is about or for, to find all that concern one.

Revision ID: 0007
Revises: 0006
"""

import json
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Json = dict[str, Any]


BATCH = 500
"""So many records are held at once: a year of them need not fit in memory."""


def upgrade() -> None:
    _add("incidents", {"agent": lambda incident: dict(incident["group"]).get("agent")})
    _add("handoffs", {"about": itemgetter("about"), "target_agent": itemgetter("target_agent")})


def _add(name: str, columns: dict[str, Callable[[Json], str | None]]) -> None:
    for column in columns:
        op.add_column(name, sa.Column(column, sa.String(), nullable=True))
    table = sa.table(name, sa.column("seq"), sa.column("record"), *map(sa.column, columns))
    fill = sa.update(table).where(table.c.seq == sa.bindparam("at"))
    fill = fill.values({column: sa.bindparam(f"its_{column}") for column in columns})
    connection, last = op.get_bind(), -1
    batch = sa.select(table.c.seq, table.c.record).order_by(table.c.seq).limit(BATCH)
    while rows := connection.execute(batch.where(table.c.seq > last)).all():
        records = [(seq, json.loads(record)) for seq, record in rows]
        its = [{f"its_{column}": of(each) for column, of in columns.items()} for _, each in records]
        connection.execute(fill, [{"at": seq, **each} for (seq, _), each in zip(records, its, strict=True)])
        last = rows[-1].seq
    for column in columns:
        op.create_index(f"ix_{name}_{column}", name, [column], unique=False)
