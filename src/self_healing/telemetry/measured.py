"""What is measured: the groups of each measure, and its panes or its signs of life.

Here it is laid out by what triggers ask for, asked, packed into the state and put back from there, also for a measure
whose groups have another limit since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import msgspec
import numpy as np

from self_healing.measures import MICRO, MOST, Grouped, Ints, Measure, Totals, judged, pane_us_of, value_of
from self_healing.model import Group
from self_healing.spec import COUNTING, PERCENT, Aggregate, Baseline, RateOfChange, TriggerSpec
from self_healing.telemetry.buckets import BUCKETS
from self_healing.telemetry.groups import BY_AGENT, Grouping, name_of
from self_healing.telemetry.moving import Move, Row, moved, moves, widest
from self_healing.telemetry.signals import EVENTS, HEARTBEATS
from self_healing.telemetry.signs import Signs
from self_healing.telemetry.table import BOUNDS, PaneTable


@dataclass(slots=True)
class Stored:
    """What the state keeps of telemetry.

    Args:
        panes: rows of the table ``panes``.
        facts: small things by name.
    """

    panes: list[dict[str, Any]]
    facts: dict[str, Any]


class Measured:
    """What is kept of that which triggers measure, and what they ask of it.

    Args:
        triggers: what will be asked for; decides which panes are kept, and how far back.
        max_groups: how many groups are kept apart for each ``group_by``.
    """

    def __init__(self, triggers: Iterable[TriggerSpec], *, max_groups: int) -> None:
        self._max_groups = max_groups
        self._measures: dict[str, Measure] = {}
        self._groupings: dict[Grouped, Grouping] = {}
        self._tables: dict[str, PaneTable] = {}
        self._by_signal: dict[str, list[PaneTable]] = {}
        self._signs: dict[str, Signs] = {}
        self._beats: set[str] = set()  # the keys of the measures of heartbeats
        self._oldest_kept: dict[tuple[str, int], int] = {}
        self._gone: set[tuple[str, int]] = set()  # rings in the state that nobody asks for any more
        self._told = False  # whether the state has what is measured
        self._since: dict[str, int] = {}  # from when on all is there, by the name of what is kept; 0 where not said
        self.moves: Mapping[str, Move] = {}
        """The way of each trigger's measure that had another limit before the restart."""
        self._build(list(triggers))

    def _build(self, triggers: list[TriggerSpec]) -> None:
        needs: dict[Measure, list[TriggerSpec]] = {}
        self._asked = {trigger.name: trigger for trigger in triggers}
        for trigger in triggers:
            measure = self._measures[trigger.name] = Measure.of(trigger)
            needs.setdefault(measure, []).append(trigger)
        for measure, asking in needs.items():
            grouping = self._grouping_of(measure)
            if measure.signal == EVENTS:
                self._signs[measure.key] = Signs(measure, grouping)
            elif measure.signal == HEARTBEATS:
                self._beats.add(measure.key)
            elif measure.signal:
                self._tabulate(measure, asking)
        self._groupings.setdefault(BY_AGENT, Grouping(BY_AGENT, self._max_groups))

    def _grouping_of(self, measure: Measure) -> Grouping:
        """The grouping of a measure. What looks at triggers with groups of their own sees these in the shared one."""
        shared = self._groupings.setdefault(measure.group_by, Grouping(measure.group_by, self._max_groups))
        if measure.most is None:
            return shared
        most = min(measure.most, self._max_groups)
        return self._groupings.setdefault(measure.grouped, Grouping(measure.group_by, most, beside=shared))

    def _tabulate(self, measure: Measure, asking: list[TriggerSpec]) -> None:
        window_us = max(trigger.window for trigger in asking) * MICRO
        over = [t.condition.over for t in asking if isinstance(t.condition, Baseline)]
        extremes = {t.window * MICRO for t in asking if t.aggregate in (Aggregate.MAX, Aggregate.MIN)}
        quantiles = {t.window * MICRO for t in asking if t.aggregate in PERCENT}
        baseline_us = max(over, default=0) * MICRO
        changes = {t.window * MICRO for t in asking if isinstance(t.condition, RateOfChange)}
        table = PaneTable(measure, window_us, baseline_us, extremes=extremes, quantiles=quantiles, changes=changes)
        self._tables[measure.key] = table
        self._by_signal.setdefault(measure.signal, []).append(table)

    # -- questions

    def groups(self, grouped: Grouped) -> Sequence[Group]:
        return self._groupings[grouped].groups

    def place(self, grouped: Grouped, group: Group) -> int | None:
        return self._groupings[grouped].place(group)

    def window(self, measure: Measure, window_us: int, t_us: int) -> Totals:
        return self._tables[measure.key].window(window_us, t_us, len(self.groups(measure.grouped)))

    def value(self, trigger: str, group: Group, t_us: int) -> float | None:
        """The value of a series' window at `t_us`, in the signal's unit; None where there is none."""
        asked, place = self._asked[trigger], self._place(trigger, group)
        if place is None:
            return None
        totals = judged(asked, self.window(self._measures[trigger], asked.window * MICRO, t_us).at([place]))
        return float(value_of(asked, totals)[0]) if totals.count[0] else None

    def course(self, trigger: str, t_us: int, group: Group | None = None) -> tuple[Ints, Ints]:
        """What came of a trigger's measure in each slice of the hour up to `t_us`, the oldest first; 0 where nothing.

        Args:
            trigger: its name.
            t_us: microseconds.
            group: of this group alone; of all together when None.

        Returns:
            Counts, and amounts in millionths of the unit; empty where no panes are kept of it.
        """
        measure = self._measures[trigger]
        table = self._tables.get(measure.key)
        place = None if group is None else self.place(measure.grouped, group)
        if table is None or (group is not None and place is None):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return table.panes.course(t_us, place)

    def baseline(self, measure: Measure, window_us: int, over_us: int, t_us: int) -> Totals:
        return self._tables[measure.key].baseline(window_us, over_us, t_us, len(self.groups(measure.grouped)))

    def successive(self, measure: Measure, window_us: int, t_us: int) -> tuple[Totals, Totals]:
        return self._tables[measure.key].successive(window_us, t_us, len(self.groups(measure.grouped)))

    def single(self, measure: Measure, places: Ints, from_us: Ints, until_us: Ints) -> tuple[Ints, Ints]:
        return self._tables[measure.key].single(places, from_us, until_us)

    def first_sampled_us(self, measure: Measure, from_us: int) -> int | None:
        return self._tables[measure.key].panes.first_sampled_us(from_us)

    def first_heard_us(self, measure: Measure, places: Ints, from_us: Ints, pane_us: int) -> Ints:
        return self._tables[measure.key].panes.first_heard_us(places, from_us, pane_us)

    def _place(self, trigger: str, group: Group) -> int | None:
        return self._groupings[self._measures[trigger].grouped].place(group)

    def watched_from_us(self, trigger: str) -> int:
        """From when on all that a trigger measures is there, microseconds; 0 where that was always so."""
        table = self._tables.get(self._measures[trigger].key)
        names = [self._measures[trigger].key] if table is None else table.names_for(self._asked[trigger].aggregate)
        return max(self._since.get(name, 0) for name in names)

    def heard_nothing_before(self, at_us: int) -> None:
        """What happened right before `at_us` may not have come here: of that, nothing that is missing says anything."""
        self._since = {name: max(self._since.get(name, 0), at_us) for name in self._all_kept}

    @property
    def _all_kept(self) -> list[str]:
        """The names of all that is kept."""
        return [*self._signs, *self._beats, *(name for table in self._tables.values() for name, _ in table.kept_from())]

    def unwatched_until_us(self, trigger: str, group: Group | None, t_us: int) -> int | None:
        """When a series' window will be one that was watched in full; None where it is, or samples say enough.

        Of one of which nothing has come when its group is None.

        Its measure may be kept only since a reload, or for longer windows than before: what is missing in it then says
        nothing. Samples that are there do, but for where they are counted.
        """
        asked = self._asked[trigger]
        since_us = self.watched_from_us(trigger)
        window_us = asked.window * MICRO
        reach_us = window_us * (2 if isinstance(asked.condition, RateOfChange) else 1) + pane_us_of(window_us)
        if not since_us or t_us >= since_us + reach_us:
            return None
        told = group is not None and asked.aggregate not in COUNTING and self.value(trigger, group, t_us) is not None
        return None if told else since_us + reach_us

    # -- groups

    @property
    def issues(self) -> list[str]:
        """What there is more of than is kept apart, in words: groups. The limit of a trigger's own is meant so."""
        return [
            f"more than {grouping.most} groups by {', '.join(grouping.group_by)} (triggers.max_groups): "
            "what comes of further ones counts for the group overflow; raise it, or group by what has fewer values"
            for grouped, grouping in self._groupings.items()
            if grouping.overflows and not isinstance(grouped, Measure)
        ]

    def overflows(self, trigger: str) -> bool:
        """Whether there are groups of a trigger that have no series of their own."""
        return self._groupings[self._measures[trigger].grouped].overflows

    @property
    def groupings(self) -> Iterable[Grouped]:
        """Each grouping that is kept."""
        return self._groupings

    # -- state

    def pack(self) -> Stored:
        """What changed in panes since the last time, and all groups and signs of life, for the state."""
        rows: list[dict[str, Any]] = []
        for table in self._tables.values():
            rows += [
                {"table_key": key, "level": pane_us // MICRO, "slot": slot, "columns": columns}
                for key, pane_us, slot, columns in table.pack()
            ]
        facts: dict[str, Any] = {
            "groups": [(name_of(grouped), grouping.groups) for grouped, grouping in self._groupings.items()],
            "signs": {key: signs.pack() for key, signs in self._signs.items()},
            "since": {name: self._since.get(name, 0) for name in (*self._signs, *self._beats)}
            | {
                name: max(self._since.get(name, 0), oldest_us)
                for table in self._tables.values()
                for name, oldest_us in table.kept_from()
            },
        }
        if not self._told:
            facts["measures"], self._told = self._measures, True
        return Stored(rows, facts)

    @property
    def forgets(self) -> bool:
        """Whether there are panes in the state that nobody can use any more."""
        return bool(self._gone)

    def forgotten_slots(self) -> list[tuple[str, int, int]]:
        """For each ring that let panes go since this was last asked: measure's key, level in s, oldest slot kept."""
        moved = [(key, level, MOST) for key, level in self._gone]
        self._gone.clear()
        for table in self._tables.values():
            for key, ring in table.rings:
                oldest = ring.oldest
                if oldest > self._oldest_kept.get((key, ring.pane_us), 0):
                    self._oldest_kept[key, ring.pane_us] = oldest
                    moved.append((key, ring.pane_us // MICRO, oldest))
        return moved

    def restore(self, panes: Iterable[Row], facts: dict[str, Any]) -> None:
        """Put back what :meth:`pack` gave; panes that nobody asks for any more go, from the state as well.

        Of a measure of which only the limit has changed, all goes on by the places that its groups have now.
        """
        groupings = {name_of(grouped): grouping for grouped, grouping in self._groupings.items()}
        stored = dict(msgspec.convert(facts["groups"], list[tuple[tuple[str, ...] | str, list[Group]]]))
        for name in stored.keys() & groupings.keys():
            groupings[name].restore(stored[name])
        measured = msgspec.convert(facts.get("measures") or {}, dict[str, Measure])
        self.moves = moves(measured, self._measures, stored, self._groupings)
        tables = {(key, ring.pane_us // MICRO): table for table in self._tables.values() for key, ring in table.rings}
        rows = self._kept_on(panes, {measure.key for measure in measured.values()})
        for key, level, slot, columns in rows:
            if (key, level) in tables:
                tables[key, level].unpack(key, level * MICRO, slot, columns)
            else:
                self._gone.add((key, level))  # what comes meanwhile will be lacking, and others take its places
        for key, level, slot, columns in moved(rows, widest(self.moves.values())) if self.moves else ():
            if (key, level) in tables:
                tables[key, level].unpack(key, level * MICRO, slot, columns, anew=True)
        for table in self._tables.values():
            table.complete()
        if facts.get("since") is not None:
            self._restore_since(dict(facts["since"]), facts.get("evaluated_us", 0))
        self._restore_signs(facts.get("signs") or {})

    def _kept_on(self, panes: Iterable[Row], asked: set[str]) -> list[Row]:
        """The stored panes of measures that somebody asked for up to the end: others were left lying, and go.

        Args:
            asked: the keys of those measures; none where the state does not say.
        """
        rows = list(panes)
        left = {(row[0], row[1]) for row in rows if asked and row[0].removesuffix(BUCKETS) not in asked}
        self._gone |= left
        return [row for row in rows if (row[0], row[1]) not in left]

    def _restore_since(self, stored: dict[str, int], now_us: int) -> None:
        """From when on all is there: what was not kept before is from now on."""
        for way, suffix in product(self.moves.values(), ("", BUCKETS, BOUNDS)):
            known = stored.get(way.before.key + suffix)
            if known is not None:
                stored.setdefault(way.after.key + suffix, known)
        of_life = {*self._signs, *self._beats}  # of which nothing older is asked than the last of each
        self._since = {name: stored.get(name, 0 if name in of_life else now_us) for name in self._all_kept}

    def _restore_signs(self, stored: Mapping[str, bytes]) -> None:
        moved = {
            way.after.key: way.by_place(np.frombuffer(stored[way.before.key], np.int64)).tobytes()
            for way in reversed(widest(self.moves.values()))
            if way.after.key in self._signs
        }
        for key, packed in {**moved, **stored}.items():
            if key in self._signs:
                self._signs[key].unpack(packed)
