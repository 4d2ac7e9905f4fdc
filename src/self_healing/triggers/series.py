"""All series of one trigger, in columns: what an evaluation remembers until the next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from self_healing.clock import HOUR_US, SECOND_US
from self_healing.measures import COARSE_US, FINE_US, NONE_MIN, Bools, Ints, Measure, Totals
from self_healing.model import SeriesState
from self_healing.spec import COUNTING, Absence, Aggregate, Baseline, Composite, NoData, RateOfChange, TriggerSpec
from self_healing.triggers.conditions import Seen
from self_healing.triggers.states import Finding, States, begins, flaps

FORGET_US = 25 * HOUR_US
"""A series without samples for so long, and without an incident, is forgotten."""

NEVER = 0
"""An instant that never was."""

NOT_FROZEN = -1

_NONE = np.zeros(0, np.int64)
_STATES = tuple(SeriesState)  # by number
_NO_DATA = np.uint8(Finding.NO_DATA)
_NOT_WHOLE = (np.uint8(Finding.TOO_FEW), np.uint8(Finding.NO_BASELINE))  # of a window, and of a change from one

Interval = tuple[int, int | None]

COLUMNS: dict[str, tuple[Any, int]] = {
    "state": (np.uint8, SeriesState.INACTIVE),
    "since_us": (np.int64, NEVER),  # since when it is in that state
    "enough": (np.bool_, False),  # whether it had enough samples at the last evaluation
    "enough_us": (np.int64, NEVER),  # when it last had enough, if it has not now
    "sampled": (np.bool_, False),  # the same for any sample at all
    "sampled_us": (np.int64, NEVER),
    "restarted_us": (np.int64, NEVER),  # when its last incident closed; what ran then counts by age no longer
    "watched_us": (np.int64, NEVER),  # from when on all its samples count: it was first heard of then, or began anew
    "frozen_count": (np.int64, NOT_FROZEN),  # the baseline as it was when it began to fire
    "frozen_amount": (np.int64, 0),
    "flapping": (np.bool_, False),
}
"""The columns of a trigger, one element a group, and what a new group has in them."""


class Packed(msgspec.Struct):
    """The stored columns of one trigger; places are those of its groups."""

    measure: str  # what was measured, with its aggregate
    evaluated_us: int
    columns: dict[str, bytes]
    left_out: dict[int, list[tuple[int, int | None]]]
    began_us: dict[int, list[int]] = {}  # of those that ever began to fire


class Way(Protocol):
    """Where the groups of a measure stand that had other places, since its limit was another."""

    @property
    def before(self) -> Measure:
        """The measure as it was."""
        ...

    def place(self, before: int) -> int:
        """Where the group stands now that stood at `before`."""
        ...


@dataclass(slots=True)
class Gathered:
    """What an evaluation looks at, and the very arrays that it was made from: while they are the same, so is it."""

    t_us: int
    sources: tuple[Totals | Ints | None, ...]
    totals: Totals
    before: Totals | None
    held: Ints | None = (
        None  # how many samples there are, also those that the value cannot be told of; None where of all
    )
    seen: Seen | None = None  # what it shows, once somebody asked

    def is_from(self, t_us: int, sources: tuple[Totals | Ints | None, ...]) -> bool:
        """Whether it was made for that instant from those very arrays."""
        return self.t_us == t_us and all(a is b for a, b in zip(self.sources, sources, strict=True))


class Series:
    """All series of one trigger.

    Args:
        trigger: the trigger.
    """

    state: States
    since_us: Ints
    enough: Bools
    enough_us: Ints
    sampled: Bools
    sampled_us: Ints
    restarted_us: Ints
    watched_us: Ints
    frozen_count: Ints
    frozen_amount: Ints
    flapping: Bools

    def __init__(self, trigger: TriggerSpec) -> None:
        self.trigger = trigger
        self.measure = Measure.of(trigger)
        self.window_us = trigger.window * SECOND_US
        self.baseline = trigger.condition if isinstance(trigger.condition, Baseline) else None
        self.changes = isinstance(trigger.condition, RateOfChange)
        self.absence = trigger.condition if isinstance(trigger.condition, Absence) else None
        self.members = trigger.condition.members if isinstance(trigger.condition, Composite) else ()
        self.counts_running = trigger.counts_running
        # Where silence itself can fire, a group that never spoke here is no series of this trigger.
        counts = trigger.aggregate in COUNTING
        self.must_have_spoken = trigger.no_data is NoData.FIRE or counts
        # What adds up over a window is too little while that was not watched in full: judged from below it would be a
        # fall, and as what a later window is compared with, a rise.
        adds_up = (counts or trigger.aggregate is Aggregate.SUM) and not self.members and self.absence is None
        self.asks_whole = adds_up and (self.changes or not trigger.rising)
        self.needed = 1 if counts else trigger.min_samples
        self.evaluated_us = NEVER
        self._watched_last_us = NEVER
        self.left_out: dict[int, list[Interval]] = {}  # the times of its own incidents
        self.gathered: Gathered | None = None
        self.changed = True  # since it was last packed
        # When each group began to fire the last so many times, the newest last; a row a group.
        self.began_us = np.zeros((0, trigger.flap_after), np.int64)
        for name, (kind, _) in COLUMNS.items():
            setattr(self, name, np.zeros(0, kind))

    def __len__(self) -> int:
        return len(self.state)

    def widen(self, groups: int) -> None:
        """Make room for new groups."""
        new = groups - len(self)
        if new > 0:
            for name, (kind, nothing) in COLUMNS.items():
                setattr(self, name, np.concatenate([getattr(self, name), np.full(new, nothing, kind)]))
            self.began_us = np.concatenate([self.began_us, np.zeros((new, self.trigger.flap_after), np.int64)])

    @property
    def spoken(self) -> Bools:
        """Which groups ever had a sample here, as far back as silence is remembered."""
        before: Bools = self.sampled_us != NEVER
        return self.sampled | before

    # -- windows that were not watched in full

    def whole_us(self) -> Ints:
        """From when on all that each group is judged by was watched in full, where the trigger asks for that."""
        if self.changes:
            return -(-self.watched_us // FINE_US) * FINE_US + 2 * self.window_us
        return self.watched_us + self.window_us

    def unheard(self, sampled: Bools) -> Ints:
        """The places of those of the sampled groups that never had a sample here before."""
        began = sampled > self.sampled
        return np.flatnonzero(began & (self.sampled_us == NEVER)) if began.any() else _NONE

    def untold(self, finding: States, t_us: int, places: Ints | None = None) -> States:
        """The findings at `t_us`, but that where a window was not watched in full it says too little.

        Args:
            finding: of the groups in `places`, or of all.
        """
        if not self._waits(t_us):
            return finding
        partial = self.whole_us()[slice(None) if places is None else places] > t_us
        return np.where(partial & (finding != _NO_DATA), _NOT_WHOLE[self.changes], finding)

    def next_whole_us(self, t_us: int) -> int | None:
        """When the next window was watched in full, after `t_us`; None where none is waited for."""
        if not self._waits(t_us):
            return None
        whole_us = self.whole_us()
        due_us = whole_us[whole_us > t_us]
        return int(due_us.min()) if len(due_us) else None

    def _waits(self, t_us: int) -> bool:
        """Whether some window may be one that was not watched in full; mostly none is, and to see that is quick."""
        return self.asks_whole and self._watched_last_us + 2 * self.window_us + FINE_US > t_us

    def watch(self, places: Ints, from_us: Ints) -> None:
        """Remember from when on all samples of the groups in these places count."""
        self.watched_us[places] = np.maximum(self.watched_us[places], from_us)
        self._watched_last_us = max(self._watched_last_us, int(from_us.max()))
        self.changed = True

    def saw(self, sampled: Bools, enough: Bools, t_us: int, before_us: int) -> None:
        """Remember which groups have samples, and enough of them, at `t_us`.

        Args:
            before_us: the last instant of the grid before `t_us`; what was there at the last evaluation was there
                until then, since otherwise an evaluation would have been due.
        """
        last_us = max(self.evaluated_us, before_us)
        for was, now, at_us in (
            (self.sampled, sampled, self.sampled_us),
            (self.enough, enough, self.enough_us),
        ):
            ended = was & ~now
            if ended.any():
                at_us[ended] = last_us
        self.sampled, self.enough, self.evaluated_us = sampled, enough, t_us

    def state_of(self, place: int) -> SeriesState:
        """The state of the group in that place; inactive for one that was never looked at."""
        return _STATES[self.state[place]] if place < len(self) else SeriesState.INACTIVE

    def enough_at_us(self, place: int) -> int:
        """When the group last had enough samples; ``NEVER`` when it never had."""
        return self.evaluated_us if self.enough[place] else int(self.enough_us[place])

    def known(self) -> Bools:
        """Which groups are not forgotten."""
        recent: Bools = self.sampled_us > max(self.evaluated_us - FORGET_US, NEVER)
        active: Bools = self.state != SeriesState.INACTIVE
        return self.sampled | recent | active

    def become(self, state: States, since_us: Ints, t_us: int) -> Ints:
        """Take the states at `t_us`, and remember which series began to fire; returns the places of what changed."""
        before, self.state, self.since_us = self.state, state, since_us
        began = np.flatnonzero(begins(before, state))
        if self.trigger.flap_after and len(began):
            self.began_us[began, :-1] = self.began_us[began, 1:]
            self.began_us[began, -1] = t_us
            self.flapping[began] |= flaps(self.trigger, self.began_us[began], t_us)
        self.flapping &= state != SeriesState.INACTIVE
        places: Ints = np.flatnonzero(state != before)
        self.changed = self.changed or len(places) > 0
        return places

    def forget(self, places: Ints) -> None:
        """Let the groups in these places be as if they had never been seen."""
        self.state = self.state.copy()
        for name, (_, nothing) in COLUMNS.items():
            getattr(self, name)[places] = nothing
        self.began_us[places] = NEVER
        for place in places.tolist():
            self.left_out.pop(place, None)
        self._touched()

    def begin_anew(self, place: int, t_us: int) -> None:
        """Set one group inactive at `t_us`, as the close of its incident does."""
        if self.absence is None or self.state[place] == SeriesState.FIRING:
            # Of a group that is silent still: it must speak before it can fall silent again.
            self.restarted_us[place] = t_us
            self.watch(np.array([place]), np.array([t_us]))
        # What was worked out of its states is known by the very arrays.
        self.state, self.since_us = self.state.copy(), self.since_us.copy()
        self.state[place], self.since_us[place] = SeriesState.INACTIVE, t_us
        self.frozen_count[place] = NOT_FROZEN
        self.flapping[place] = False  # how often it began to fire is remembered all the same
        if self.must_have_spoken:
            # Or its silence would fire at once again: it must speak before it can fall silent.
            self.sampled[place], self.sampled_us[place] = False, NEVER
        self._touched()

    # -- baselines

    def freeze(self, before: Totals) -> None:
        """Freeze the baselines of those that fire now as `before` has them, and thaw the others."""
        fires = self.state >= np.uint8(SeriesState.FIRING)
        frozen = self.frozen_count != NOT_FROZEN
        if (fires == frozen).all():
            return
        new = fires & ~frozen
        self.frozen_count[new], self.frozen_amount[new] = before.count[new], before.amount[new]
        self.frozen_count[~fires] = NOT_FROZEN
        self._touched()

    def leave_out(self, place: int, start_us: int, end_us: int | None) -> None:
        """Leave a stretch of time out of one group's baselines, in place of those that began then or later."""
        self.readmit(place, start_us)
        self.left_out.setdefault(place, []).append((start_us, end_us))

    def readmit(self, place: int, start_us: int) -> None:
        """Let the stretches that began at `start_us` or later count after all."""
        kept = [interval for interval in self.left_out.pop(place, []) if interval[0] < start_us]
        if kept:
            self.left_out[place] = kept
        self._touched()

    def gaps(self, from_us: int, until_us: int) -> Iterator[tuple[int, int, int]]:
        """What is left out of the baselines from the pane that holds `from_us` up to `until_us`: place, start and end.

        Whole 15-minute panes, for finer ones are not kept as long: what an incident touches stays out until it is a
        day old, instead of coming back in part.
        """
        first_us = from_us // COARSE_US * COARSE_US
        for place, intervals in list(self.left_out.items()):
            live = [i for i in intervals if i[1] is None or _end(i[1]) > first_us]
            if len(live) < len(intervals):
                self.left_out[place] = live
            if not live:
                del self.left_out[place]
            if self.frozen_count[place] == NOT_FROZEN:
                for start_us, end_us in _merged(live, first_us, until_us):
                    yield place, start_us, end_us

    def whole_gaps(self, place: int) -> Iterator[tuple[int, int]]:
        """What is left out of one group's baselines, whenever they lie: start and end of each stretch, in order."""
        yield from _merged(self.left_out.get(place, []), NEVER, NONE_MIN)

    # -- state

    def _named(self, measure: Measure) -> str:
        """What is measured, in words that last; values of another aggregate are not to be compared."""
        return f"{self.trigger.aggregate.value} {measure.key}"

    def pack(self) -> Packed:
        """Its columns, for the state."""
        columns = {name: getattr(self, name).tobytes() for name in COLUMNS}
        began = {place: self.began_us[place].tolist() for place in np.flatnonzero(self.began_us.any(axis=1)).tolist()}
        return Packed(self._named(self.measure), self.evaluated_us, columns, self.left_out, began)

    def restore(self, packed: Packed, way: Way | None = None) -> None:
        """Put back what :meth:`pack` gave; a trigger that measures something else now, or is disabled, begins anew.

        Whatever else of it was changed, pending timers, what fires and what is flapping go on as they stood.

        Args:
            packed: the columns.
            way: where its groups stand now, if those columns are of the same measure within another limit.
        """
        if way is not None and packed.measure == self._named(way.before):
            packed = _moved(packed, self._named(self.measure), way)
        if packed.measure != self._named(self.measure):
            return
        self.widen(len(packed.columns["state"]))
        for name, (kind, _) in COLUMNS.items():
            if name in packed.columns:  # else the state was written before there was that column
                setattr(self, name, np.frombuffer(packed.columns[name], kind).copy())
        for place, began_us in packed.began_us.items():
            kept_us = began_us[max(len(began_us) - self.trigger.flap_after, 0) :]
            self.began_us[place, self.trigger.flap_after - len(kept_us) :] = kept_us
        self._watched_last_us = int(self.watched_us.max(initial=NEVER))
        self.evaluated_us, self.left_out = packed.evaluated_us, packed.left_out
        if not self.trigger.flap_after:
            self.flapping[:] = False
        if not self.trigger.enabled:
            self.state[:], self.flapping[:] = SeriesState.INACTIVE, False
        if self.baseline is None or not self.trigger.enabled:
            self.frozen_count[:] = NOT_FROZEN

    def _touched(self) -> None:
        self.gathered, self.changed = None, True


def _moved(packed: Packed, measure: str, way: Way) -> Packed:
    """The columns by the places that their groups have now; a group of which they say nothing gets none."""
    columns = {name: np.frombuffer(column, COLUMNS[name][0]) for name, column in packed.columns.items()}
    told = [column != COLUMNS[name][1] for name, column in columns.items()]
    known = {*np.flatnonzero(np.any(told, axis=0)).tolist(), *packed.left_out, *packed.began_us}
    places = {before: way.place(before) for before in sorted(known)}
    for name, column in columns.items():
        kind, nothing = COLUMNS[name]
        columns[name] = np.full(max(places.values(), default=-1) + 1, nothing, kind)
        columns[name][list(places.values())] = column[list(places)]
    return Packed(
        measure,
        packed.evaluated_us,
        {name: column.tobytes() for name, column in columns.items()},
        {places[before]: intervals for before, intervals in packed.left_out.items()},
        {places[before]: began_us for before, began_us in packed.began_us.items()},
    )


def _end(end_us: int) -> int:
    """The end of the 15-minute pane that holds an incident's end."""
    return (end_us // COARSE_US + 1) * COARSE_US


def _merged(intervals: list[Interval], first_us: int, until_us: int) -> Iterator[tuple[int, int]]:
    """The whole panes that the intervals touch, each once, between `first_us` and `until_us`."""
    at_us = first_us
    for start, end in sorted(intervals, key=lambda interval: interval[0]):
        start_us = max(start // COARSE_US * COARSE_US, at_us)
        end_us = until_us if end is None else min(_end(end), until_us)
        if start_us < end_us:
            yield start_us, end_us
            at_us = end_us
