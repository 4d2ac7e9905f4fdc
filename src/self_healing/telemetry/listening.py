"""What comes of the events for the taps: each hears of what is its series' own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.clock import SECOND_US
from self_healing.measures import FINE_US, UNKNOWN_START, Grouped, Ints, Measure
from self_healing.model import Event, Kind
from self_healing.taps import Accumulator, Restart, Taps
from self_healing.telemetry.agents import Folded
from self_healing.telemetry.groups import Grouping
from self_healing.telemetry.moving import Move
from self_healing.telemetry.samples import Joining, matches
from self_healing.telemetry.tasks import TaskTable

_LIVING = np.isin(np.arange(256), [Kind.TASK_STARTED, Kind.HEARTBEAT, Kind.TASK_FINISHED])
"""Whether a kind of event is a sign of life of a task."""


class Listening:
    """The taps, and what is told to them while events are folded.

    Args:
        measures: of each trigger, by its name.
        groupings: of each measure.
        tasks: those that run.
    """

    def __init__(
        self, measures: Mapping[str, Measure], groupings: Mapping[Grouped, Grouping], tasks: TaskTable
    ) -> None:
        self.taps = Taps()
        self._measures = measures
        self._groupings = groupings
        self._tasks = tasks

    def keys(self) -> set[str]:
        """The keys of the measures that some tap listens to."""
        return self.taps.measures(self._measures) if self.taps.restarts or self.taps.accumulators else set()

    def places(self, grouped: Grouped) -> Iterator[Sequence[int]]:
        """The places of a grouping that some tap listens to."""
        accumulators = self.taps.accumulators.values()
        yield [each.place for each in accumulators if self._measures[each.trigger].grouped == grouped]
        for trigger, places in self.taps.restarts.items():
            if self._measures[trigger].grouped == grouped:
                yield list(places)

    # -- what is told

    def tell_samples(self, measure: Measure, samples: Joining) -> None:
        """Samples join the panes of `measure`."""
        rows, at, places, count, amount = samples.rows, samples.at, samples.places, samples.count, samples.amount
        accumulators = self._listeners(measure.key)
        restarts = [
            (place, restart)
            for trigger, places_of in self.taps.restarts.items()
            if self._measures.get(trigger) == measure
            for place, restart in places_of.items()
        ]
        for place in {a.place for a in accumulators} | {place for place, _ in restarts}:
            for row in np.flatnonzero(places == place).tolist():
                ts_us, worth = int(rows.ts[at[row]]), (int(count[row]), int(amount[row]))
                for restarted, restart in restarts:
                    if restarted == place and ts_us > restart.since_us:
                        restart.add(ts_us, *worth)
                for accumulator in accumulators:
                    if accumulator.place == place:
                        accumulator.sample(rows.events[at[row]], ts_us, rows.start_us(at[row]), *worth)

    def tell_signs(self, key: str, ts: Ints, places: NDArray[np.intp]) -> None:
        """Groups gave signs of life; `places` has whose each is."""
        for accumulator in self._listeners(key):
            for ts_us in ts[places == accumulator.place].tolist():
                accumulator.sign(ts_us, ts_us)

    def tell_beats(self, key: str, events: Sequence[Event], kind: NDArray[np.uint8], ts: Ints) -> None:
        """Running tasks gave signs of life."""
        for accumulator in self._listeners(key):
            measure = self._measures[accumulator.trigger]
            grouping = self._groupings[measure.grouped]
            for row in np.flatnonzero(_LIVING[kind]).tolist():
                event = events[row]
                start_us = self._tasks.start_us(event)
                here = grouping.find(event) == accumulator.place and matches(event, measure.where)
                if here and start_us is not None:
                    accumulator.sign(int(ts[row]), start_us)

    def tell_started(self, folded: Folded) -> None:
        """Tasks began."""
        for event, start_us in folded.started if self.taps.accumulators else ():
            for accumulator in self._watchers(event):
                accumulator.started(event, start_us)

    def tell_finished(self, folded: Folded) -> None:
        """Tasks ended."""
        if self.taps.accumulators:
            finished = folded.finished
            for event, started_at in zip(finished.events, finished.started_at, strict=True):
                start_us = UNKNOWN_START if started_at is None else round(started_at * SECOND_US)
                for accumulator in self._watchers(event):
                    accumulator.finished(event, start_us)

    def tell_lost(self, event: Event) -> None:
        """A task is given up; `event` is its start."""
        for accumulator in self._watchers(event):
            accumulator.lost(event)

    def _listeners(self, key: str) -> list[Accumulator]:
        return [each for each in self.taps.accumulators.values() if each.measure_key == key]

    def _watchers(self, event: Event) -> Iterable[Accumulator]:
        for accumulator in self.taps.accumulators.values():
            if self._groupings[self._measures[accumulator.trigger].grouped].find(event) == accumulator.place:
                yield accumulator

    # -- who is told

    def restart(self, trigger: str, place: int, at_us: int, accumulator: Accumulator | None) -> None:
        """Let a series' window begin anew at `at_us`, with what `accumulator` gathered."""
        restart = Restart(at_us, measure_key=self._measures[trigger].key)
        if accumulator is not None:
            for task in accumulator.tasks.values():
                for ts_us, count, amount in task.samples:
                    restart.add(ts_us, count, amount)
        self.taps.restarts.setdefault(trigger, {})[place] = restart

    def restarted(self, trigger: str, from_us: int) -> Mapping[int, Restart]:
        """The windows of a trigger that began anew, by place; those that began before `from_us` are forgotten."""
        places = self.taps.restarts.get(trigger)
        if not places:
            return {}
        # Once the window begins after the restart, the shared panes say the same.
        for place in [place for place, restart in places.items() if from_us // FINE_US > restart.since_us // FINE_US]:
            del places[place]
        return places

    def watch(self, id: str, trigger: str, place: int, effect_us: int) -> None:
        """Begin to gather the tasks of a series that start from `effect_us` on, for the verification `id`."""
        measure = self._measures[trigger]
        accumulator = Accumulator(measure.key, place, effect_us, trigger=trigger)
        grouping = self._groupings[measure.grouped]
        for event, start_us in self._tasks.starts():
            if grouping.find(event) == place:
                accumulator.started(event, start_us)
        self.taps.accumulators[id] = accumulator

    def restore(self, stored: Any, moves: Mapping[str, Move]) -> None:
        """Put back the taps as they were stored, but for those of a trigger that is gone or measures something else.

        Args:
            stored: the taps.
            moves: the ways of the triggers whose groups had other places.
        """
        self.taps = msgspec.convert(stored, Taps)
        taps, keys = self.taps, {name: measure.key for name, measure in self._measures.items()}
        for name, way in moves.items():
            _move(taps, name, way)
        taps.accumulators = {id: a for id, a in taps.accumulators.items() if a.measure_key == keys.get(a.trigger)}
        taps.restarts = {
            name: {place: restart for place, restart in places.items() if restart.measure_key == keys[name]}
            for name, places in taps.restarts.items()
            if name in keys
        }


def _move(taps: Taps, trigger: str, way: Move) -> None:
    """Let the taps of a trigger be those of the places that its groups have now."""
    restarts = taps.restarts.pop(trigger, {}).items()
    moved = {way.place(at): each for at, each in restarts if each.measure_key == way.before.key}
    for restart in moved.values():
        restart.measure_key = way.after.key
    taps.restarts[trigger] = moved
    for each in taps.accumulators.values():
        if (each.trigger, each.measure_key) == (trigger, way.before.key):
            each.place, each.measure_key = way.place(each.place), way.after.key
