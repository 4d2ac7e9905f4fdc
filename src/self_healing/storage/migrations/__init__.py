"""Schema versions, by Alembic; a new state and an old one end at the same ``HEAD``."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from self_healing.storage.readonly import HEAD, VERSION_TABLE
from self_healing.storage.schema import metadata

# As Alembic makes it.
_version = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def version(connection: sa.Connection) -> str | None:
    """The version of the schema behind `connection`; None when it has none yet."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    found = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return None if found is None else str(found)


def create(connection: sa.Connection) -> None:
    """Make the schema of ``HEAD`` where there is none yet, inside the connection's transaction."""
    metadata.create_all(connection, checkfirst=False)
    _version.create(connection, checkfirst=False)
    connection.execute(sa.insert(_version).values(version_num=HEAD))


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema behind `connection` to ``HEAD``, inside its transaction."""
    # Imported here: only an older state needs it, and it costs 0.2 s.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic reads its settings by configparser, to which % means something.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
