"""The state: records in, records out, in transactions that either commit whole or leave nothing.

One :class:`Store` owns the state directory for as long as it is open for writing. The readers that must be light
(agents reading their directives, ``status``) use :mod:`self_healing.storage.readonly` instead.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect

from self_healing import model
from self_healing.errors import NotFound, StateBusy, StateCorrupt, StateError, StorageError
from self_healing.storage import schema
from self_healing.storage.readonly import DATABASE, LOCK

R = TypeVar("R", bound=model.Record)

TABLES: dict[type[model.Record], sa.Table] = {
    model.Incident: schema.incidents,
    model.Decision: schema.decisions,
    model.Execution: schema.executions,
    model.Directive: schema.directives,
    model.Handoff: schema.handoffs,
    model.Verification: schema.verifications,
    model.Lesson: schema.lessons,
}


def _looked_up(record: model.Record, column: str) -> Any:
    """The value of a look-up column: the field of that name, or what the column derives from the record."""
    if column == "open":
        match record:
            case model.Directive():
                return "yes" if record.undone_at is None else "no"
            case model.Verification():
                return "yes" if record.result is None else "no"
    if column == "incident" and isinstance(record, model.Decision):
        return record.proposal.incident
    value = getattr(record, column)
    return value if value is None else str(value)


class Store:
    """The state directory, opened by its one owner.

    Args:
        state_dir: the directory; made when missing.
        read_only: open without the lock, to look only.

    Raises:
        StateBusy: another process owns the directory.
        StateCorrupt: the database is not one of ours, or damaged.
        StateError: the directory cannot be used.
    """

    def __init__(self, state_dir: Path, *, read_only: bool = False) -> None:
        self.state_dir = state_dir
        self.read_only = read_only
        self._lock: int | None = None
        self._connection: sa.Connection | None = None
        database = state_dir / DATABASE
        if read_only:
            if not database.exists():
                raise StateError(f"{state_dir} holds no state yet; `self-healing check` or `run` makes one")
            self._engine = sa.create_engine(f"sqlite:///file:{database}?mode=ro&uri=true", poolclass=sa.pool.NullPool)
            return
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot use the state directory {state_dir}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            self._lock = None
            raise StateBusy(
                f"{state_dir} is in use by another self-healing process; stop it, or give another --state-dir"
            ) from error
        self._engine = sa.create_engine(f"sqlite:///{database}", connect_args={"timeout": 5.0})
        sa.event.listen(self._engine, "connect", _configure_sqlite)
        try:
            self._migrate()
        except sa.exc.DatabaseError as error:
            self.close()
            raise StateCorrupt(f"{database}: {error.orig}; move it away to begin anew, or restore a copy") from error

    # -- life

    def _migrate(self) -> None:
        from self_healing.storage.migrations import HEAD, upgrade

        with self._engine.begin() as connection:
            if not connection.dialect.has_table(connection, "alembic_version"):
                current = None
            else:
                current = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            if current != HEAD:
                upgrade(connection)

    def close(self) -> None:
        """Give the directory back; safe to call twice."""
        self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- transactions

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All that is written inside commits together, or not at all; a transaction within another joins it.

        Raises:
            StorageError: nothing was committed.
        """
        if self._connection is not None:
            yield self._connection
            return
        try:
            with self._engine.begin() as connection:
                self._connection = connection
                yield connection
        except sa.exc.DatabaseError as error:
            raise StorageError(f"the state in {self.state_dir} could not be written: {error.orig}") from error
        finally:
            self._connection = None

    # -- records

    def put(self, *records: model.Record) -> None:
        """Store `records`, each in place of the one with its id."""
        with self.transaction() as connection:
            for record in records:
                table = TABLES[type(record)]
                values = {name: _looked_up(record, name) for name in table.columns.keys() if name not in ("seq", "record")}
                values["record"] = msgspec.json.encode(record).decode()
                self._upsert(connection, table, [values], ["id"])

    def get(self, kind: type[R], id: str) -> R:
        """The record of that kind and id. Raises NotFound."""
        found = self.find(kind, id)
        if found is None:
            raise NotFound(kind.__name__.lower(), id)
        return found

    def find(self, kind: type[R], id: str) -> R | None:
        """The record of that kind and id, or None."""
        table = TABLES[kind]
        with self._reading() as connection:
            row = connection.scalar(sa.select(table.c.record).where(table.c.id == id))
        return None if row is None else msgspec.json.decode(row, type=kind)

    def select(self, kind: type[R], *, newest: int | None = None, **where: str | Iterable[str]) -> list[R]:
        """The records of that kind whose look-up columns have the given values, oldest first.

        Args:
            newest: only so many of the newest.
            where: for each column a value, or several of which one must match.
        """
        table = TABLES[kind]
        query = sa.select(table.c.record)
        for column, value in where.items():
            values = [value] if isinstance(value, str) else list(value)
            query = query.where(table.c[column].in_(values))
        query = query.order_by(table.c.seq.desc() if newest else table.c.seq).limit(newest)
        with self._reading() as connection:
            rows = connection.scalars(query).all()
        records = [msgspec.json.decode(row, type=kind) for row in rows]
        return records[::-1] if newest else records

    def count(self, kind: type[R], **where: str) -> int:
        """How many records of that kind have the given values in their look-up columns."""
        table = TABLES[kind]
        query = sa.select(sa.func.count()).select_from(table)
        for column, value in where.items():
            query = query.where(table.c[column] == value)
        with self._reading() as connection:
            return int(connection.scalar(query) or 0)

    # -- everything else

    def put_fact(self, name: str, value: Any) -> None:
        """Store `value`, anything that msgpack can say, under `name`."""
        with self.transaction() as connection:
            packed = msgspec.msgpack.encode(value)
            self._upsert(connection, schema.facts, [{"name": name, "value": packed}], ["name"])

    def fact(self, name: str, type: Any = Any) -> Any:
        """What was stored under `name`, decoded as `type`; None when nothing was."""
        with self._reading() as connection:
            packed = connection.scalar(sa.select(schema.facts.c.value).where(schema.facts.c.name == name))
        return None if packed is None else msgspec.msgpack.decode(packed, type=type)

    def insert(self, table: sa.Table, rows: list[Mapping[str, Any]]) -> None:
        """Append `rows` to one of the tables that are not records."""
        if rows:
            with self.transaction() as connection:
                connection.execute(sa.insert(table), rows)

    def upsert(self, table: sa.Table, rows: list[Mapping[str, Any]]) -> None:
        """Write `rows` by primary key into one of the tables that are not records."""
        if rows:
            with self.transaction() as connection:
                self._upsert(connection, table, rows, [column.name for column in table.primary_key.columns])

    def rows(self, query: sa.Select[Any]) -> list[sa.Row[Any]]:
        """The rows of a query written with the tables of :mod:`self_healing.storage.schema`."""
        with self._reading() as connection:
            return list(connection.execute(query).all())

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        if self._connection is not None:
            yield self._connection
            return
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DatabaseError as error:
            raise StorageError(f"the state in {self.state_dir} could not be read: {error.orig}") from error

    @staticmethod
    def _upsert(connection: sa.Connection, table: sa.Table, rows: list[Mapping[str, Any]], keys: list[str]) -> None:
        statement = sqlite_dialect.insert(table)
        changed = {name: statement.excluded[name] for name in table.columns.keys() if name not in (*keys, "seq")}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """WAL, so that readers never wait; FULL, so that what is acknowledged survives a power cut; foreign keys on."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
