"""Lessons keep with each result when it was known: they are judged over all agents, in the order of time.

Of those written before nobody knows more than when the newest was.

Revision ID: 0003
Revises: 0002
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

lessons = sa.table("lessons", sa.column("seq"), sa.column("record"))


def upgrade() -> None:
    connection = op.get_bind()
    for seq, record in connection.execute(sa.select(lessons.c.seq, lessons.c.record)).all():
        lesson = json.loads(record)
        lesson["recent"] = [{"at": lesson.get("last_at"), "result": result} for result in lesson.get("recent", ())]
        connection.execute(sa.update(lessons).where(lessons.c.seq == seq).values(record=json.dumps(lesson)))
