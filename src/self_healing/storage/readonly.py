"""Reading the state without owning it, with nothing but the standard library.

Agents read their directives through this inside their own processes, and ``status`` must answer at once: importing
SQLAlchemy alone costs them about 0.45 s, this about 0.01 s. All writing goes through
:mod:`self_healing.storage.store`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from self_healing.errors import StateCorrupt, StorageError

DATABASE = "state.db"
LOCK = "lock"

VERSIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Every version of its schema that a state can have, the oldest first."""

HEAD = VERSIONS[-1]

VERSION_TABLE = "alembic_version"


def read(state_dir: Path, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of one query on the state; an empty list when there is no state yet.

    Raises:
        StateCorrupt: the file is not a database of ours.
        StorageError: it cannot be read now.
    """
    database = state_dir / DATABASE
    if not database.exists():
        return []
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise StorageError(f"the state in {state_dir} could not be read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StateCorrupt(f"{database}: {error}; move it away to begin anew, or restore a copy") from error
