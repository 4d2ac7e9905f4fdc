"""When an incident was closed and an execution changed last, to find the newest of them.

Revision ID: 0004
Revises: 0003
"""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name, column in (("incidents", "closed_at"), ("executions", "updated_at")):
        op.add_column(name, sa.Column(column, sa.String(), nullable=True))
        op.create_index(f"ix_{name}_{column}", name, [column], unique=False)
        _fill(sa.table(name, sa.column("seq"), sa.column("record"), sa.column(column)), column)


def _fill(table: sa.TableClause, column: str) -> None:
    connection = op.get_bind()
    for seq, record in connection.execute(sa.select(table.c.seq, table.c.record)).all():
        at = json.loads(record).get(column)
        if at is not None:
            text = datetime.fromisoformat(at).astimezone(UTC).isoformat(timespec="microseconds")
            connection.execute(sa.update(table).where(table.c.seq == seq).values({column: text}))
