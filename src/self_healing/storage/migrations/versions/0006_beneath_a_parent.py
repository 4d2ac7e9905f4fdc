"""Which incident one is beneath, to find all that are.

Revision ID: 0006
Revises: 0005
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("incidents", sa.Column("parent", sa.String(), nullable=True))
    op.create_index("ix_incidents_parent", "incidents", ["parent"], unique=False)
    table = sa.table("incidents", sa.column("seq"), sa.column("record"), sa.column("parent"))
    connection = op.get_bind()
    for seq, record in connection.execute(sa.select(table.c.seq, table.c.record)).all():
        parent = json.loads(record).get("parent")
        if parent is not None:
            connection.execute(sa.update(table).where(table.c.seq == seq).values(parent=parent))
