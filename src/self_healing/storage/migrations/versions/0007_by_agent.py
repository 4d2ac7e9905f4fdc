"""Which agent an incident is about, and a handoff is about or for, to find all that concern one.

Revision ID: 0007
Revises: 0006
"""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Json = dict[str, Any]


def upgrade() -> None:
    _add("incidents", "agent", lambda incident: dict(incident["group"]).get("agent"))
    _add("handoffs", "about", lambda handoff: handoff["about"])
    _add("handoffs", "target_agent", lambda handoff: handoff["target_agent"])


def _add(name: str, column: str, of: Callable[[Json], str | None]) -> None:
    op.add_column(name, sa.Column(column, sa.String(), nullable=True))
    op.create_index(f"ix_{name}_{column}", name, [column], unique=False)
    table = sa.table(name, sa.column("seq"), sa.column("record"), sa.column(column))
    connection = op.get_bind()
    for seq, record in connection.execute(sa.select(table.c.seq, table.c.record)).all():
        connection.execute(sa.update(table).where(table.c.seq == seq).values({column: of(json.loads(record))}))
