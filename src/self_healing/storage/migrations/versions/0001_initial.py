"""The first schema.

Revision ID: 0001
Revises:
"""

from alembic import op

from self_healing.storage.schema import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
