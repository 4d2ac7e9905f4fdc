"""Sights: what is seen ahead of the series of one trigger, and of those that wait for silence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from self_healing.clock import DAY_US
from self_healing.measures import MICRO, NONE_MIN, Bools, Ints
from self_healing.model import Group, SeriesState
from self_healing.spec import Absence
from self_healing.telemetry.replayed import Replayed
from self_healing.triggers.series import Series
from self_healing.triggers.states import States

_INACTIVE = np.uint8(SeriesState.INACTIVE)


@dataclass(slots=True)
class Stretch:
    """The instants of the grid after `from_us`, up to and including `until_us`, microseconds."""

    from_us: int
    until_us: int
    grid_us: int

    def at(self, us: Ints) -> Ints:
        """The number of the first instant from `us` on; `from_us` is 0."""
        return -((self.from_us - us) // self.grid_us)

    @property
    def width(self) -> int:
        """How many instants there are, `from_us` being one."""
        return (self.until_us - self.from_us) // self.grid_us + 1


@dataclass(slots=True)
class Seen:
    """What is seen ahead of one trigger, one element an instant of a series.

    Args:
        places: of the series' groups.
        at: the number of the instant.
        met: whether something can happen then while the series is inactive.
        turns: whether something can happen then while it is not.
    """

    places: Ints
    at: Ints
    met: Bools
    turns: Bools

    def without(self, place: int) -> Seen:
        """The same without one series."""
        kept = self.places != place
        return Seen(self.places[kept], self.at[kept], self.met[kept], self.turns[kept])

    def joined(self, other: Seen) -> Seen:
        """Both."""
        return Seen(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.at, other.at]),
            np.concatenate([self.met, other.met]),
            np.concatenate([self.turns, other.turns]),
        )


class Sight(ABC):
    """What is seen ahead of all series of one trigger.

    Args:
        series: the trigger's.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self._stretch = Stretch(0, 0, 1)
        self._seen = nothing()
        self._for: tuple[States, bool] | None = None
        self._instants = np.zeros(0, np.int64)
        self._next: int | None = 0  # the first of them after the instant that was looked at last

    def begin(self, stretch: Stretch) -> None:
        """Look along a stretch that was folded ahead."""
        self._stretch, self._for = stretch, None
        self._seen = self._along()

    @abstractmethod
    def _along(self) -> Seen:
        """What is seen along the whole stretch."""

    def again(self, group: Group, t_us: int) -> None:
        """Look again at the series of one group, of which more has changed at `t_us` than time."""
        self._for = None

    def next(self, now: int, *, watched: bool) -> int | None:
        """The number of the next instant at which something can happen; None when nothing does.

        Args:
            now: the number of the instant that was looked at.
            watched: whether all series matter as those do that are not inactive.
        """
        state, known = self._series.state, self._for
        if known is None or known[0] is not state or known[1] != watched:
            self._for, seen = (state, watched), self._seen
            troubled = np.full(int(seen.places.max(initial=-1)) + 1, watched)
            if not watched:
                troubled[: len(state)] = state[: len(troubled)] != _INACTIVE
            at = seen.at[np.where(troubled[seen.places], seen.turns, seen.met)]
            self._instants, self._next = distinct(at, self._stretch.width), 0
        if self._next is not None and self._next <= now:
            place = int(self._instants.searchsorted(now, side="right"))
            self._next = int(self._instants[place]) if place < len(self._instants) else None
        return self._next

    def _always(self, places: Ints, at: Ints, now: int) -> Seen:
        kept = (at > now) & (at < self._stretch.width)
        yes = np.ones(int(np.count_nonzero(kept)), np.bool_)
        return Seen(places[kept], at[kept], yes, yes)


class Quiet(Sight):
    """What is seen ahead of all series of a trigger that waits for silence.

    Args:
        series: the trigger's.
        absence: its condition.
        telemetry: what they are judged by.
    """

    def __init__(self, series: Series, absence: Absence, telemetry: Replayed) -> None:
        super().__init__(series)
        self._silent_us = absence.silent_for * MICRO
        self._telemetry = telemetry

    def _along(self) -> Seen:
        heard = self._telemetry.heard(self._series.measure)
        newest, at = heard.newest, self._stretch.at
        long = newest.until_us - newest.started_us >= self._silent_us
        places, since, told, until = (
            column[long] for column in (newest.places, newest.started_us, newest.from_us, newest.until_us)
        )
        first = np.flatnonzero(heard.known_us < NONE_MIN)
        seen = self._always(first, at(heard.known_us[first]), 0)
        for length_us in (self._silent_us, DAY_US):
            reached = np.maximum(since + length_us, told)
            silent = np.flatnonzero(reached < until)
            seen = seen.joined(self._always(places[silent], at(reached[silent]), 0))
        # It is longest right before it ends, be it that nobody expects anything any more.
        for ends_us in (until, since + DAY_US):
            ended = np.flatnonzero(ends_us <= np.minimum(until, self._stretch.until_us + self._stretch.grid_us))
            for moments in (at(ends_us[ended]) - 1, at(ends_us[ended])):
                seen = seen.joined(self._always(places[ended], moments, 0))
        return seen


def nothing() -> Seen:
    none: Any = np.zeros(0, np.int64)
    no: Any = np.zeros(0, np.bool_)
    return Seen(none, none, no, no)


def distinct(numbers: Ints, below: int) -> Ints:
    """Each of `numbers` once, ascending; all are less than `below`."""
    if below <= _SPARSE * len(numbers):
        marks = np.zeros(below, np.bool_)
        marks[numbers] = True
        return np.flatnonzero(marks)
    numbers = np.sort(numbers)
    return numbers[np.diff(numbers, prepend=-1) > 0]


_SPARSE = 16  # so many marks for each number are made and looked through in the time in which that is sorted
