"""Listing: what is stored, page by page, the newest first.

A page ends with a cursor, which says in its own way behind which record the next one begins. Records are numbered as
they come, so each is on exactly one page, whatever comes in meanwhile.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from self_healing.errors import SelfHealingError
from self_healing.model import (
    Approval,
    Decision,
    Directive,
    Execution,
    Handoff,
    Incident,
    Record,
    Silence,
    Transition,
    Verification,
)
from self_healing.problems import unknown
from self_healing.storage import schema
from self_healing.storage.store import Store

Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
"""Of a record, as SQLite counts: a cursor can say any."""

Where = Mapping[str, Iterable[str]]
Numbered = list[tuple[int, Any]]
Look = Callable[[Store, Where, int, int | None], Numbered]
"""The newest of one kind: where to look, what must match, how many, and before which number."""


def _records(kind: type[Record]) -> Look:
    def look(store: Store, where: Where, limit: int, before: int | None) -> Numbered:
        return list(store.page(kind, limit, before, **where))

    return look


def _transitions(store: Store, where: Where, limit: int, before: int | None) -> Numbered:
    table = schema.transitions
    rows = store.rows(_query(table, [table.c.seq, table.c.record], where, limit, before))
    return [(row.seq, msgspec.json.decode(row.record, type=Transition)) for row in rows]


def _entries(store: Store, where: Where, limit: int, before: int | None) -> Numbered:
    """Entries of the audit log as they stand: whether they are what was written, its verification says."""
    rows = store.rows(_query(schema.audit, list(schema.audit.c), where, limit, before))
    return [(row.seq, {**row._asdict(), "payload": msgspec.json.decode(row.payload)}) for row in rows]


def _query(
    table: sa.Table, columns: list[sa.Column[Any]], where: Where, limit: int, before: int | None
) -> sa.Select[Any]:
    query = sa.select(*columns).order_by(table.c.seq.desc()).limit(limit)
    for column, values in where.items():
        query = query.where(table.c[column].in_(list(values)))
    return query if before is None else query.where(table.c.seq < before)


LISTS: dict[str, tuple[Look, tuple[str, ...]]] = {
    "incidents": (_records(Incident), ("trigger", "state", "agent")),
    "executions": (_records(Execution), ("incident", "status")),
    "decisions": (_records(Decision), ("incident", "outcome")),
    "verifications": (_records(Verification), ("incident", "open")),
    "directives": (_records(Directive), ("agent", "owner", "open")),
    "handoffs": (_records(Handoff), ("incident", "status", "agent", "target_agent")),
    "approvals": (_records(Approval), ("open",)),
    "silences": (_records(Silence), ("open",)),
    "transitions": (_transitions, ("trigger",)),
    "entries": (_entries, ("kind",)),
}
"""What can be listed: how it is looked for, and the columns that can be asked for."""


def page(store: Store, kind: str, where: Where, limit: int, cursor: str | None) -> tuple[list[Any], str | None]:
    """The newest records, or those behind a cursor; and the cursor of the next page, None on the last.

    Args:
        store: the state.
        kind: one of :data:`LISTS`.
        where: for each column the values of which one must match; a column without any is not asked for.
        limit: so many a page.
        cursor: what the page before ended with.

    Raises:
        SelfHealingError: there is no such list, it cannot be asked for that, or that is no cursor of it.
        StorageError: the state cannot be read.
    """
    if kind not in LISTS:
        raise SelfHealingError(f"list {kind!r}: {unknown(kind, LISTS)}")
    look, columns = LISTS[kind]
    for column in where:
        if column not in columns:
            raise SelfHealingError(f"{kind} by {column!r}: {unknown(column, columns)}")
    before = None if cursor is None else opened(cursor, kind, Number)
    found = look(store, {column: values for column, values in where.items() if values}, limit + 1, before)
    shown = found[:limit]
    return [each for _, each in shown], sealed(kind, shown[-1][0]) if len(found) > limit else None


def sealed(kind: str, place: Any) -> str:
    """A cursor: the place behind which the next page of a list begins, not to be read by anybody else."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([kind, place])).rstrip(b"=").decode()


def opened(cursor: str, kind: str, type: Any) -> Any:
    """The place that a cursor of that list says. Raises SelfHealingError."""
    try:
        packed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        of, place = msgspec.msgpack.decode(packed, type=tuple[str, type])
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError):
        of = None
    if of != kind:
        raise SelfHealingError(f"cursor {cursor!r}: allowed is what the page before said as next")
    return place
