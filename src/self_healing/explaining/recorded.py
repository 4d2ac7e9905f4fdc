"""What is on record about the series of some triggers: transitions, incidents, verifications and silences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from self_healing.clock import SECOND_US, from_us, to_us
from self_healing.incidents.silences import covers
from self_healing.loop.versions import PRINTS, Prints
from self_healing.model import CloseReason, Group, Incident, Note, Silence, Transition, Verification
from self_healing.storage import schema
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store

_OPENINGS = ("detected", "reopened")
_ENDINGS = frozenset(CloseReason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One stretch of time in which an incident was open; one that is reopened has several.

    Args:
        closed_at, reason: None while it is open.
        effect_at: where a verification closed it, from when on that one gathered tasks: the window began with them.
    """

    incident: Incident
    opened_at: datetime
    closed_at: datetime | None = None
    reason: CloseReason | None = None
    effect_at: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is open at that instant."""
        return self.opened_at <= at and (self.closed_at is None or at < self.closed_at)


@dataclass(slots=True)
class Recorded:
    """The record about a trigger, and those that it depends on.

    Args:
        trigger: its name.
        transitions: of its series, oldest first.
        openings: of its incidents, oldest first.
        silences: all that there were, of every trigger.
        since: since when transitions are kept; None when there is none at all.
        versions: of the last transition of any trigger up to the instant that is asked about, and of the first after
            it: the spec versions that the fleet was judged by around it.
        prints: :attr:`Spec.prints` of the newest of all versions.
    """

    trigger: str
    transitions: list[Transition] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    since: datetime | None = None
    versions: frozenset[str] = frozenset()
    prints: Prints = field(default_factory=dict)

    def silence(self, trigger: str, group: Group, at: datetime) -> Silence | None:
        """The silence that muted a series at an instant, if one did."""
        return next((each for each in self.silences if covers(each, trigger, group, at)), None)

    def opening(self, group: Group, at: datetime) -> Opening | None:
        """The stretch of the series' incident that was open at an instant, if one was."""
        return next((each for each in self._mine(group) if each.holds(at)), None)

    def of(self, group: Group) -> list[Incident]:
        """The incidents of a series, each once."""
        return list({each.incident.id: each.incident for each in self._mine(group)}.values())

    def _mine(self, group: Group) -> list[Opening]:
        return [each for each in self.openings if (each.incident.trigger, each.incident.group) == (self.trigger, group)]

    def changes(self, group: Group) -> list[Transition]:
        """The transitions of a series, oldest first."""
        key = (self.trigger, group)
        return [each for each in self.transitions if (each.verdict.trigger, each.verdict.group) == key]

    def last(self, group: Group, at: datetime) -> Transition | None:
        """The last transition of a series up to an instant."""
        return next((each for each in reversed(self.changes(group)) if each.verdict.at <= at), None)

    def anew_at(self, group: Group, at: datetime, grid_s: int) -> datetime | None:
        """When the series last began anew up to an instant, because its incident was closed.

        Args:
            grid_s: between the instants that are evaluated. A person closes at any time, and the series begins anew at
                the instant that was evaluated last, of which was said before what it was without that.
        """
        ends = [
            _evaluated(each.closed_at, grid_s) if each.reason is CloseReason.DISMISSED else each.closed_at
            for each in self._mine(group)
            if each.closed_at is not None and each.closed_at <= at and each.reason is not CloseReason.SUPPRESSED
        ]
        return max(ends, default=None)


def _evaluated(at: datetime, grid_s: int) -> datetime:
    """The instant of the grid at or before `at`."""
    return from_us(to_us(at) // (grid_s * SECOND_US) * grid_s * SECOND_US)


MOST_TRANSITIONS: Final = 10_000
"""So many of the newest transitions are looked at."""


def recorded(state_dir: Path, trigger: str, names: Collection[str], at_us: int) -> Recorded:
    """What the state says about a trigger up to `at_us`; nothing where there is no state.

    Args:
        names: its own, and those of the triggers that it depends on.

    Raises:
        StateError, StateCorrupt, StorageError: the state cannot be read.
    """
    if not (state_dir / DATABASE).exists():
        return Recorded(trigger)
    with Store(state_dir, read_only=True) as store:
        table, at = schema.transitions, from_us(at_us).isoformat()
        newest = sa.select(table.c.record).where(table.c.trigger.in_(names), table.c.at <= at)
        newest = newest.order_by(table.c.seq.desc()).limit(MOST_TRANSITIONS)
        first = store.rows(sa.select(sa.func.min(table.c.at)))[0][0]
        before = sa.select(table.c.record).where(table.c.at <= at).order_by(table.c.seq.desc()).limit(1)
        after = sa.select(table.c.record).where(table.c.at > at).order_by(table.c.seq).limit(1)
        around = [*_transitions(store, before), *_transitions(store, after)]
        return Recorded(
            trigger,
            transitions=list(_transitions(store, newest))[::-1],
            openings=sorted(_openings(store, names), key=lambda each: each.opened_at),
            silences=store.select(Silence),
            since=None if first is None else datetime.fromisoformat(first),
            versions=frozenset(each.verdict.spec_version for each in around),
            prints=store.fact(PRINTS, Prints) or {},
        )


def _transitions(store: Store, query: sa.Select[tuple[str]]) -> Iterator[Transition]:
    for (record,) in store.rows(query):
        yield msgspec.json.decode(record, type=Transition)


def _openings(store: Store, names: Collection[str]) -> Iterator[Opening]:
    for incident in store.select(Incident, trigger=names):
        if not incident.is_parent:
            yield from openings(incident, store.select(Verification, incident=incident.id))


def openings(incident: Incident, verifications: Iterable[Verification]) -> Iterator[Opening]:
    """The stretches of time in which an incident was open, as its timeline tells."""
    opened: Note | None = None
    for note in incident.notes:
        if note.what in _OPENINGS:
            opened = note
        elif note.what in _ENDINGS and opened is not None:
            # Only the one that found it well has its credit.
            judged = [each for each in verifications if each.judged_at == note.at and each.credit is not None]
            yield Opening(
                incident=incident,
                opened_at=opened.at,
                closed_at=note.at,
                reason=CloseReason(note.what),
                effect_at=max((each.effect_at for each in judged), default=None),
            )
            opened = None
    if opened is not None:
        yield Opening(incident=incident, opened_at=opened.at)
    elif not any(note.what in _OPENINGS for note in incident.notes):
        # Of a very long timeline the oldest lines are gone.
        yield Opening(
            incident=incident,
            opened_at=incident.opened_at,
            closed_at=incident.closed_at,
            reason=incident.close_reason,
        )
