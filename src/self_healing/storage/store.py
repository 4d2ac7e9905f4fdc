"""The state: records in, records out, in transactions that either commit whole or leave nothing.

One :class:`Store` owns the state directory for as long as it is open for writing. The readers that must be light
(agents reading their directives, ``status``) use :mod:`self_healing.storage.readonly` instead.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect

from self_healing import model
from self_healing.errors import NotFound, StateBusy, StateCorrupt, StateError, StorageError
from self_healing.storage import schema
from self_healing.storage.lookups import TABLES, as_column, having, looked_up
from self_healing.storage.migrations import create, upgrade, version
from self_healing.storage.readonly import DATABASE, HEAD, LOCK, VERSIONS

R = TypeVar("R", bound=model.Record)

WAIT_S = 5.0
"""How long a write waits for another process that holds the database."""

MOST_ANSWERS = 256
"""So many answers about one kind of record are remembered; what the loop asks every turn is about ten questions."""

MOST_RECORDS = 512
"""So many records of one kind are remembered by their id: five times the actions that may well be under way at once."""

LONGEST_ANSWER = 100
"""Records of a longer answer are not kept in memory."""

_JOINED: Final = nullcontext()

_FACT = sa.select(schema.facts.c.value).where(schema.facts.c.name == sa.bindparam("name"))


class Store:
    """The state directory, opened by its one owner.

    Args:
        state_dir: the directory; made when missing.
        read_only: open without the lock, to look only.
        durable: what is committed survives a power cut; a state that is thrown away afterwards need not wait for it.

    Raises:
        StateBusy: another process owns the directory.
        StateCorrupt: the database is not one of ours, damaged, or of a version that is not known here.
        StateError: the directory cannot be used.
        StorageError: the database cannot be opened now (locked, disk full).
    """

    def __init__(self, state_dir: Path, *, read_only: bool = False, durable: bool = True) -> None:
        self.state_dir = state_dir
        self.read_only = read_only
        self.durable = durable
        self._answers: dict[type[model.Record], dict[Any, list[Any]]] = {}  # in transactions, by kind and question
        # The same by id: as text until somebody asks, None for none of that id.
        self._records: dict[type[model.Record], dict[str, Any]] = {}
        self.transactions = 0  # that were begun
        # What is written waits, row by key, until something is read or all commits: in a storm that is one statement.
        self._rows: dict[sa.Table, dict[Any, Mapping[str, Any]]] = {}
        self._appended: dict[sa.Table, list[Mapping[str, Any]]] = {}
        self._written: set[type[model.Record]] = set()  # in the transaction that is open
        self._after_commit: list[tuple[type[model.Record], Callable[[], None]]] = []
        self._lock: int | None = None
        self._connection: sa.Connection | None = None
        self._database = state_dir / DATABASE
        if read_only and not self._database.exists():
            raise StateError(f"{state_dir} holds no state yet; `self-healing check` or `run` makes one")
        if not read_only:
            self._own()
        self._engine = _engine(self._database, read_only=read_only, durable=durable)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    # -- life

    def _own(self) -> None:
        """Take the lock that makes this process the directory's only owner."""
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot use the state directory {self.state_dir}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StateBusy(
                f"{self.state_dir} is in use by another self-healing process; stop it, or give another --state-dir"
            ) from error
        self._lock = lock

    def _migrate(self) -> None:
        """Bring the schema to the version that is known here; one that is only looked at must have it already."""
        with self._failing("opened"), self._engine.begin() as connection:
            found = version(connection)
            if found == HEAD:
                return
            if not self.read_only and (found is None or found in VERSIONS):
                (create if found is None else upgrade)(connection)
                return
        if found is None:  # its owner has only just begun to make it
            raise StateError(f"{self.state_dir} holds no state yet; try again in a moment")
        own = "`self-healing run`, or one `check`, brings it there"
        known = own if found in VERSIONS else "use the release that wrote it"
        raise StateCorrupt(f"{self._database} has schema version {found}, and {HEAD} is wanted here; {known}")

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

    @property
    def writing(self) -> bool:
        """Whether a transaction is open."""
        return self._connection is not None

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All that is written inside commits together, or not at all; a transaction within another joins it.

        Raises:
            StorageError: nothing was committed.
            StateCorrupt: the database is damaged; nothing was committed.
        """
        if self._connection is not None:
            self._write(self._connection)
            yield self._connection
            return
        try:
            with self._failing("written"), self._engine.begin() as connection:
                self._heed_others(connection)
                self._connection = connection
                self.transactions += 1
                yield connection
                self._write(connection)
        except BaseException:
            self._forget_answers()  # they may tell of what was not committed
            self._rows.clear()
            self._appended.clear()
            raise
        finally:
            self._connection = None
            written, self._written = self._written, set()
        for kind, tell in self._after_commit:
            if kind in written:
                tell()

    def joined(self) -> AbstractContextManager[object]:
        """The transaction that is open, or one of its own, for what may be written with others later in it."""
        return self.transaction() if self._connection is None else _JOINED

    def _write(self, connection: sa.Connection) -> None:
        """Write what waits, what others refer to first."""
        for table in schema.metadata.sorted_tables if self._rows else ():
            self._write_rows(connection, table)
        if self._appended:
            appended, self._appended = self._appended, {}
            for table, rows in appended.items():
                connection.execute(_inserting(table), rows)

    def _write_rows(self, connection: sa.Connection, table: sa.Table) -> None:
        waiting = self._rows.pop(table, None)
        if waiting:
            for key in table.foreign_keys:
                self._write_rows(connection, key.column.table)
            connection.execute(_upserting(table), list(waiting.values()))

    def after_commit(self, kind: type[model.Record], tell: Callable[[], None]) -> None:
        """Call `tell` after each commit that wrote records of that kind."""
        self._after_commit.append((kind, tell))

    def _heed_others(self, connection: sa.Connection) -> None:
        """Forget what was answered before, if somebody else wrote: nobody should, and what they wrote is to be seen."""
        version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        if connection.info.get("version") != version:
            self._forget_answers()
            connection.info["version"] = version

    def _forget_answers(self) -> None:
        self._answers.clear()
        self._records.clear()

    @contextmanager
    def _reading(self, table: sa.Table | None = None) -> Iterator[sa.Connection]:
        """A connection to read from, with all that waits; with what waits of one table, where nothing else is read."""
        if self._connection is not None:
            if table is None:
                self._write(self._connection)
            else:
                self._write_rows(self._connection, table)
            yield self._connection
            return
        with self._failing("read"), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Say in our own errors why the database could not be opened, read or written."""
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.IntegrityError) as error:
            raise StorageError(f"the state in {self.state_dir} could not be {what}: {error.orig}") from error
        except sa.exc.DatabaseError as error:
            raise self._corrupt(str(error.orig)) from error

    def _corrupt(self, why: str) -> StateCorrupt:
        return StateCorrupt(f"{self._database}: {why}; move it away to begin anew, or restore a copy")

    # -- records

    def put(self, *records: model.Record) -> None:
        """Store `records`, each in place of the one with its id."""
        with self.joined():
            for record in records:
                table = TABLES[type(record)]
                values = {name: as_column(of(record)) for name, of in looked_up(table)}
                values["record"] = text = msgspec.json.encode(record).decode()
                self._rows.setdefault(table, {})[values["id"]] = values
                self._answers.pop(type(record), None)
                # As it would be read: what is remembered shares nothing with what was given.
                self._remember(type(record), str(values["id"]), text)
                self._written.add(type(record))

    def _remember(self, kind: type[R], id: str, record: R | str | None) -> None:
        known = self._records.setdefault(kind, {})
        if len(known) >= MOST_RECORDS:
            known.clear()
        known[id] = record

    def delete(self, kind: type[R], *conditions: sa.ColumnElement[bool]) -> int:
        """Delete the records of that kind of which all conditions hold; returns how many there were.

        Args:
            conditions: on the columns of its table.
        """
        with self.transaction() as connection:
            gone = connection.execute(sa.delete(TABLES[kind]).where(*conditions)).rowcount
        if gone:
            self._answers.pop(kind, None)
            self._records.pop(kind, None)
            self._written.add(kind)
        return gone

    def get(self, kind: type[R], id: str) -> R:
        """The record of that kind and id. Raises NotFound."""
        found = self.find(kind, id)
        if found is None:
            raise NotFound(kind.__name__.lower(), id)
        return found

    def find(self, kind: type[R], id: str) -> R | None:
        """The record of that kind and id, or None."""
        # Only within transactions, as all that is remembered.
        known: dict[str, R | str | None] = self._records.get(kind, {}) if self._connection is not None else {}
        remembered = known.get(id)
        if isinstance(remembered, str):
            remembered = known[id] = self._record(remembered, kind)
        if remembered is not None or id in known:
            return remembered
        found = next(iter(self._select(kind, {"id": [id]}, None, "seq")), None)
        if self._connection is not None:
            self._remember(kind, id, found)
        return found

    def select(
        self, kind: type[R], *, newest: int | None = None, by: str = "seq", **where: str | Iterable[str]
    ) -> list[R]:
        """The records of that kind whose look-up columns have the given values, oldest first.

        Args:
            newest: only so many of the newest.
            by: the column that says which is older; the order in which they came first when left out.
            where: for each column a value, or several of which one must match.
        """
        wanted = {column: [value] if isinstance(value, str) else list(value) for column, value in where.items()}
        question = (newest, by, *((column, *values) for column, values in wanted.items()))
        return list(self._answer(kind, question, lambda: self._select(kind, wanted, newest, by)))

    def _answer(self, kind: type[R], question: Any, find: Callable[[], list[R]]) -> list[R]:
        """The answer to a question about records of that kind: remembered for as long as none of them is written.

        Only within transactions: outside of them nobody knows whether another wrote meanwhile.
        """
        if self._connection is None:
            return find()
        known = self._answers.setdefault(kind, {})
        answer = known.get(question)
        if answer is None:
            answer = find()
            if len(known) >= MOST_ANSWERS:
                known.clear()
            if len(answer) <= LONGEST_ANSWER:
                known[question] = answer
        return answer

    def _select(self, kind: type[R], wanted: Mapping[str, list[str]], newest: int | None, by: str) -> list[R]:
        query = _selecting(TABLES[kind], tuple(wanted), by, newest is not None)
        with self._reading(TABLES[kind]) as connection:
            rows = connection.scalars(query, {**wanted, **({} if newest is None else {"newest": newest})}).all()
        records = [self._record(row, kind) for row in rows]
        return records if newest is None else records[::-1]

    def page(self, kind: type[R], limit: int, before: int | None = None, **where: Iterable[str]) -> list[tuple[int, R]]:
        """The newest records of that kind, each with its number, the newest first.

        Numbers are given once, in the order in which records came first, so that pages neither overlap nor skip any.

        Args:
            limit: so many at most.
            before: only those with a smaller number; all when None.
            where: for each column the values of which one must match.
        """
        table = TABLES[kind]
        query = sa.select(table.c.seq, table.c.record).order_by(table.c.seq.desc()).limit(limit)
        for column, values in where.items():
            query = query.where(having(table, column, list(values)))
        if before is not None:
            query = query.where(table.c.seq < before)
        with self._reading(table) as connection:
            rows = connection.execute(query).all()
        return [(row.seq, self._record(row.record, kind)) for row in rows]

    def count(self, kind: type[R], **where: str) -> int:
        """How many records of that kind have the given values in their look-up columns."""
        table = TABLES[kind]
        query = sa.select(sa.func.count()).select_from(table)
        for column, value in where.items():
            query = query.where(table.c[column] == value)
        with self._reading(table) as connection:
            return int(connection.scalar(query) or 0)

    def _record(self, row: str, kind: type[R]) -> R:
        try:
            return msgspec.json.decode(row, type=kind)
        except msgspec.DecodeError as error:
            raise self._corrupt(f"a {kind.__name__.lower()} is not what was written: {error}") from error

    # -- everything else

    def put_fact(self, name: str, value: Any) -> None:
        """Store `value`, anything that msgpack can say, under `name`."""
        with self.joined():
            packed = msgspec.msgpack.encode(value)
            self._rows.setdefault(schema.facts, {})[name] = {"name": name, "value": packed}

    def fact(self, name: str, type: Any = Any) -> Any:
        """What was stored under `name`, decoded as `type`; None when nothing was.

        Raises msgspec.DecodeError when it is not of that type.
        """
        with self._reading(schema.facts) as connection:
            packed = connection.scalar(_FACT, {"name": name})
        return None if packed is None else msgspec.msgpack.decode(packed, type=type)

    def insert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append `rows` to one of the tables that are not records."""
        if rows:
            with self.joined():
                self._appended.setdefault(table, []).extend(rows)

    def upsert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write `rows` by primary key into one of the tables that are not records."""
        if rows:
            with self.transaction() as connection:
                connection.execute(_upserting(table), rows)

    def rows(self, query: sa.Select[Any]) -> list[sa.Row[Any]]:
        """The rows of a query written with the tables of :mod:`self_healing.storage.schema`."""
        with self._reading() as connection:
            return list(connection.execute(query).all())


@cache
def _inserting(table: sa.Table) -> sa.Executable:
    return sa.insert(table)


@cache
def _selecting(table: sa.Table, columns: tuple[str, ...], by: str, only_newest: bool) -> sa.Select[Any]:
    """The statement that finds records by their look-up columns; built once, for that takes longer than it runs."""
    query = sa.select(table.c.record)
    for column in columns:
        query = query.where(having(table, column, sa.bindparam(column, expanding=True)))
    order = [table.c[by]] if by == "seq" else [table.c[by], table.c.seq]
    if only_newest:
        return query.order_by(*(column.desc() for column in order)).limit(sa.bindparam("newest"))
    return query.order_by(*order)


@cache
def _upserting(table: sa.Table) -> sa.Executable:
    """The statement that writes a row in place of the one with its id, or else its primary key; built once a table."""
    keys = ["id"] if "seq" in table.columns else [column.name for column in table.primary_key.columns]
    statement = sqlite_dialect.insert(table)
    changed = {name: statement.excluded[name] for name in table.columns.keys() if name not in (*keys, "seq")}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _engine(database: Path, *, read_only: bool, durable: bool) -> sa.Engine:
    """An engine on the file; the path may hold whatever a path may hold."""
    if read_only:
        url = sa.URL.create("sqlite", database=database.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"timeout": WAIT_S})
    else:
        url = sa.URL.create("sqlite", database=str(database))
        engine = sa.create_engine(url, connect_args={"timeout": WAIT_S})
        sa.event.listen(engine, "connect", partial(_configure_sqlite, durable))
    sa.event.listen(engine, "connect", _leave_transactions_to_us)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(durable: bool, connection: Any, _record: Any) -> None:
    """WAL, so that readers never wait; FULL, so that what is acknowledged survives a power cut; foreign keys on."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    # Python's sqlite3 would begin a transaction with the first INSERT only, so that neither what is read before it nor
    # the making of a table belonged to it: a migration that is killed half-way would leave half a schema.
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
