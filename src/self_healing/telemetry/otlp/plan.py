"""How the items of one scope are read: found out once for each set of attribute names, as senders repeat few of them.

Turning every attribute into Python objects is what costs. So the names of an item's attributes, in their order, are
looked up in one step, and what is found says which of them to convert, into what, and for which column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from self_healing.telemetry.otlp import values
from self_healing.telemetry.otlp.names import (
    COLUMNS,
    CONTENT,
    MARKS,
    OWN_WORK,
    RESOURCE_KEPT,
    SCOPES,
    SERVICES,
)
from self_healing.telemetry.otlp.rejection import BadItem, Rejection
from self_healing.telemetry.otlp.values import Reader, Scalar

ATTRIBUTES_MAX = 1024
"""How many attributes an item may have."""

KEPT_MAX = 64
"""How many attributes beside the columns an event keeps."""

NAME_MAX = 256
"""How long the name of an attribute may be that is kept."""

PLANS_MAX = 1024
"""How many plans are remembered; a sender of ever new names makes only itself slower."""

PLAN_MAX_CHARS = 8192
"""How long the names of an item may be together for its plan to be remembered: with PLANS_MAX, 8 MB at most."""

CUT = "self_healing.attributes_cut"
"""The attribute that says how many others were not kept, where some were not."""

READERS: Final[dict[str, Reader]] = {
    "task_id": values.text,
    "agent": values.text,
    "operation": values.text,
    "model": values.text,
    "provider": values.text,
    "attempt": values.count,
    "resends": values.count,
    "input_tokens": values.count,
    "output_tokens": values.count,
    "total_tokens": values.count,
    "cache_read_tokens": values.count,
    "cache_write_tokens": values.count,
    "cost_usd": values.amount,
    "currency": values.text,
    "quality": values.number,
    "label": values.text,
    "error_type": values.text,
    "tool": values.text,
    "call_id": values.text,
    "run_id": values.text,
    "handoff_id": values.text,
    "success": values.flag,
    "duration_ms": values.amount,
    "event_name": values.text,
    "event_time": values.text,
    "event_kind": values.text,
    "error": values.text,
}
"""What each column of the tables wants; their order is that of the cells of a row."""

CELLS: Final = {column: place for place, column in enumerate(READERS)}
"""Where each column stands in a row."""

STAYS: Final = frozenset(("cache_read_tokens", "cache_write_tokens", "quality", "label", "currency", "error"))
"""Columns that an event has no place for, or not for all their values: their attributes are kept as well."""

Attributes = Sequence[KeyValue]
Names = tuple[str, ...]
Kept = Scalar | list[Scalar | None] | None


@dataclass(slots=True, frozen=True)
class Plan:
    """How to read one item.

    Args:
        source: which row of the tables it is read by.
        texts: cell and place among the attributes of what is a text, the preferred ones of each cell first.
        others: cell, place and reader of what is not.
        rest: place and name of the attributes that are kept as they are.
        cut: how many are neither read nor kept.
        own_work: it is an agent's work, as its attributes say.
        named: it says itself which agent it is about.
    """

    source: str
    texts: tuple[tuple[int, int], ...]
    others: tuple[tuple[int, int, Reader], ...]
    rest: tuple[tuple[int, str], ...]
    cut: int
    own_work: bool
    named: bool


@dataclass(slots=True, frozen=True)
class Origin:
    """What the items of one scope share.

    Args:
        scope: the scope's name.
        service: the resource's `service.name`.
        shared: the resource's attributes that some column may be read from.
        names: their names.
        kept: the resource's attributes that events keep.
    """

    scope: str
    service: str
    shared: tuple[KeyValue, ...]
    names: Names
    kept: dict[str, Kept]


def origin_of(scope: str, resource: Attributes) -> Origin:
    """What the items of a scope with that name share, whose resource has these attributes."""
    known = _column_names()
    shared = tuple(pair for pair in resource if pair.key in known)[:KEPT_MAX]
    kept = {pair.key: _cut(values.kept(pair.value)) for pair in resource if pair.key in RESOURCE_KEPT}
    service = kept.get("service.name")
    return Origin(
        scope=scope[:NAME_MAX],
        service=service if isinstance(service, str) else "",
        shared=shared,
        names=tuple([pair.key for pair in shared]),
        kept=kept,
    )


def _cut(value: Kept) -> Kept:
    """A value no longer than a text is kept: each of the items says it again."""
    return value[: values.TEXT_MAX] if isinstance(value, str) else value


def plan_for(origin: Origin, attributes: Attributes, event_source: str = "") -> tuple[Plan, list[KeyValue]]:
    """How to read an item of that origin, and its attributes with those that its resource adds.

    Args:
        origin: where it comes from.
        attributes: its own.
        event_source: the source that the name of its event speaks of, if one.

    Raises:
        BadItem: it has too many attributes.
    """
    pairs = [*attributes]
    plan = plan_of(origin, tuple([pair.key for pair in pairs]), event_source)
    pairs += origin.shared
    return plan, pairs


def plan_of(origin: Origin, names: Names, event_source: str = "") -> Plan:
    """How to read an item of that origin whose attributes have these names. Raises BadItem: those are too many."""
    key = (event_source, origin.scope, origin.service, origin.names, names)
    plan = _PLANS.get(key)
    if plan is None:
        if len(names) > ATTRIBUTES_MAX:
            raise BadItem(Rejection.TOO_MANY_ATTRIBUTES)
        plan = _plan(event_source or source_of(origin.scope, names, origin.service), origin.names, names)
        if sum(map(len, names)) <= PLAN_MAX_CHARS:
            if len(_PLANS) >= PLANS_MAX:
                _PLANS.clear()
            _PLANS[key] = plan
    return plan


_PLANS: Final[dict[tuple[str, str, str, Names, Names], Plan]] = {}


def _plan(source: str, shared: Names, names: Names) -> Plan:
    ranks = _ranks(source)
    found = sorted((*ranks[name], place) for place, name in enumerate(names + shared) if name in ranks)
    columns, readers = list(READERS), list(READERS.values())
    taken = {place for cell, _, place in found if columns[cell] not in STAYS}
    left = [(place, name) for place, name in enumerate(names) if place not in taken and not _is_content(name)]
    rest = [(place, name) for place, name in left if len(name) <= NAME_MAX][:KEPT_MAX]
    return Plan(
        source=source,
        texts=tuple((cell, place) for cell, _, place in found if readers[cell] is values.text),
        others=tuple((cell, place, readers[cell]) for cell, _, place in found if readers[cell] is not values.text),
        rest=tuple(rest),
        cut=len(left) - len(rest),
        own_work=any(name.startswith(OWN_WORK) for name in names),
        named=any(cell == CELLS["agent"] and place < len(names) for cell, _, place in found),
    )


def source_of(scope: str, names: Iterable[str], service: str = "") -> str:
    """The row of the tables for what came from that scope, with attributes of these names."""
    for start, source in SCOPES:
        if scope.startswith(start):
            return source
    listed = list(names)
    for start, source in MARKS:
        if any(name.startswith(start) for name in listed):
            return source
    return SERVICES.get(service, "genai")


@lru_cache(maxsize=len(COLUMNS))
def _ranks(source: str) -> dict[str, tuple[int, int]]:
    """Of each foreign name the cell that it fills, and which choice it is there."""
    ranks: dict[str, tuple[int, int]] = {}
    for column, cell in CELLS.items():
        own = COLUMNS[source].get(column, ())
        for rank, name in enumerate(dict.fromkeys(own + COLUMNS["genai"].get(column, ()))):
            ranks.setdefault(name, (cell, rank))
    return ranks


@lru_cache(maxsize=1)
def _column_names() -> frozenset[str]:
    """The foreign names that a resource may say for all its items."""
    shared = ("task_id", "agent", "run_id", "handoff_id")
    return frozenset(name for table in COLUMNS.values() for column in shared for name in table.get(column, ()))


def _is_content(name: str) -> bool:
    return any(name == start if "." not in start else name.startswith(start) for start in CONTENT)
