"""Schema versions, by Alembic; a new state and an old one end at the same ``HEAD``."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

HEAD = "0001"


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema behind `connection` to ``HEAD``, inside its transaction."""
    # Imported here: only a new or an older state needs it, and it costs 0.2 s.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
