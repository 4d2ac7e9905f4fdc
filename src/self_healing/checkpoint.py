"""Everything that must agree after a crash, written and read in one piece.

Offsets, panes, running tasks, series and counters commit together, in the transaction that also takes the incidents and
intents that follow from them. So a killed process finds itself exactly where its last transaction left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from self_healing.clock import HOUR_US, MINUTE_US
from self_healing.storage import schema
from self_healing.storage.store import Store
from self_healing.telemetry.reader import Position, Quarantined
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import Packed, TriggerFramework

SERIES_EVERY_US = MINUTE_US

PASSING_EVERY_US = HOUR_US
"""How often a state is written that is thrown away afterwards: nobody opens it again, and what changed may not heap up
for ever."""

_encode = msgspec.msgpack.Encoder().encode

MOST_QUARANTINED = 10_000
"""Rows of the table ``quarantine`` that are kept; the counters know of all."""

_FACTS = (
    "groups",
    "tasks",
    "ended",
    "taps",
    "accounting",
    "queue",
    "traces",
    "sessions",
    "metrics",
    "signs",
    "silent",
    "measures",
    "since",
)


@dataclass(slots=True)
class Progress:
    """How far the loop has come.

    Args:
        evaluated_us: the newest instant that was evaluated; 0 for a fresh state.
        positions: where reading goes on.
        series_us: when all series were last written, not only the changed ones.
    """

    evaluated_us: int = 0
    positions: tuple[Position, ...] = ()
    series_us: int = 0


def save(
    store: Store,
    telemetry: Telemetry,
    framework: TriggerFramework,
    progress: Progress,
    bad: list[Quarantined],
    *,
    whole: bool = False,
) -> None:
    """Write all of it; call inside the transaction that it belongs to.

    Args:
        whole: also what may lag behind by a minute: when series last had samples, and the examples for evidence.
    """
    if bad:
        store.insert(schema.quarantine, [{"file": b.file, "offset": b.offset, "reason": b.reason} for b in bad])
        _drop_old_quarantine(store)
    if not store.durable and not whole and progress.evaluated_us - progress.series_us < PASSING_EVERY_US:
        return
    stored = telemetry.pack()
    if stored.panes or telemetry.forgets:  # first: what was left lying may bear the name of what is written
        _drop_old_panes(store, telemetry)
    store.upsert(schema.panes, stored.panes)
    everything = whole or progress.evaluated_us - progress.series_us >= SERIES_EVERY_US
    if everything:
        progress.series_us = progress.evaluated_us
    facts = dict(stored.facts, evaluated_us=progress.evaluated_us, positions=progress.positions)
    for name, packed in framework.pack(everything=everything).items():
        facts[f"series/{name}"] = packed
    if everything and telemetry.examples.changed:
        facts["examples"] = telemetry.examples.pack()
    # One statement for all of them: each one more takes longer than its row.
    store.upsert(schema.facts, [{"name": name, "value": _encode(value)} for name, value in facts.items()])


def load(store: Store, telemetry: Telemetry, framework: TriggerFramework) -> Progress:
    """Put back what :func:`save` wrote; a fresh :class:`Progress` when nothing was."""
    evaluated_us = store.fact("evaluated_us")
    if evaluated_us is None:
        return Progress()
    table = schema.panes
    rows = store.rows(sa.select(table.c.table_key, table.c.level, table.c.slot, table.c.columns).order_by(table.c.slot))
    facts: dict[str, Any] = {name: store.fact(name) for name in _FACTS} | {"evaluated_us": int(evaluated_us)}
    telemetry.restore((tuple(row) for row in rows), facts)
    examples = store.fact("examples", bytes)
    if examples is not None:
        telemetry.examples.unpack(examples)
    known = facts["measures"]
    # A timer of a trigger that was gone meanwhile has not run on.
    for name in framework.names if known is None else [name for name in framework.names if name in known]:
        packed = store.fact(f"series/{name}", Packed)
        if packed is not None:
            framework.restore(name, packed, telemetry.moves.get(name))
    positions = msgspec.convert(store.fact("positions"), tuple[Position, ...])
    return Progress(int(evaluated_us), positions, int(evaluated_us))


def _drop_old_panes(store: Store, telemetry: Telemetry) -> None:
    table = schema.panes
    forgotten = [
        {"of_key": key, "of_level": level, "oldest": oldest} for key, level, oldest in telemetry.forgotten_slots()
    ]
    if forgotten:
        of_ring = (table.c.table_key == sa.bindparam("of_key"), table.c.level == sa.bindparam("of_level"))
        with store.transaction() as connection:
            connection.execute(sa.delete(table).where(*of_ring, table.c.slot < sa.bindparam("oldest")), forgotten)


def _drop_old_quarantine(store: Store) -> None:
    table = schema.quarantine
    with store.transaction() as connection:
        newest = connection.scalar(sa.select(sa.func.max(table.c.seq))) or 0
        connection.execute(sa.delete(table).where(table.c.seq <= newest - MOST_QUARANTINED))
