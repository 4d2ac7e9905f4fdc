"""How records are looked up: the table of each kind, and what its columns beside the record are copies of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from self_healing import model
from self_healing.storage import schema

TABLES: dict[type[model.Record], sa.Table] = {
    model.Incident: schema.incidents,
    model.Decision: schema.decisions,
    model.Execution: schema.executions,
    model.Directive: schema.directives,
    model.Handoff: schema.handoffs,
    model.Verification: schema.verifications,
    model.Lesson: schema.lessons,
    model.Silence: schema.silences,
    model.Approval: schema.approvals,
}

DERIVED: dict[tuple[str, str], Callable[[Any], str | None]] = {
    ("directives", "open"): lambda directive: "yes" if directive.undone_at is None else "no",
    ("approvals", "open"): lambda approval: "yes" if approval.status in model.UNSETTLED else "no",
    ("silences", "open"): lambda silence: "no" if silence.settled else "yes",
    ("verifications", "open"): lambda verification: "yes" if verification.result is None else "no",
    ("decisions", "incident"): lambda decision: decision.proposal.incident,
    ("incidents", "agent"): lambda incident: model.group_dict(incident.group).get("agent"),
}
"""The look-up columns that are no field of their record, by table and column."""

EITHER: Final = {("handoffs", "agent"): ("about", "target_agent")}
"""What is asked for by one name and is in either of several columns: an agent's handoffs are about it or for it."""


@cache
def looked_up(table: sa.Table) -> list[tuple[str, Callable[[Any], Any]]]:
    """The look-up columns of a table, and what the value of each is of: the field of that name, or what is derived."""
    columns = [name for name in table.columns.keys() if name not in ("seq", "record")]
    return [(name, DERIVED.get((table.name, name)) or attrgetter(name)) for name in columns]


def as_column(value: Any) -> str | None:
    """The text by which a value is looked up."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, datetime):  # of one length, so that their order is that of time
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value)


def having(table: sa.Table, name: str, values: Any) -> sa.ColumnElement[bool]:
    """The condition that a record has one of `values` in a look-up column, or in one of those of that name."""
    columns = EITHER.get((table.name, name))
    if columns is None:
        return table.c[name].in_(values)
    # Each index by itself, and only their numbers put in order: by OR, SQLite would put whole records in order.
    found = table.alias()
    each = (sa.select(found.c.seq).where(found.c[column].in_(values)) for column in columns)
    return table.c.seq.in_(sa.union_all(*each))
