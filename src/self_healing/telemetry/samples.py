"""Events become samples: which event measures which signal, by how much, in which group.

Rows are gathered by kind, so that a column is read only from the events that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from self_healing.measures import MICRO, Ints
from self_healing.model import UNKNOWN_VALUE, Event, Group, Usage

ERRORS = ("failed", "timeout")
ENDED = ("success", "failed", "timeout")


class Grouping:
    """The groups that one ``group_by`` has shown so far; each keeps the place at which it was first seen.

    Args:
        group_by: columns of an event.
        groups: those known from before, in their order.
    """

    def __init__(self, group_by: tuple[str, ...], groups: Sequence[Group] = ()) -> None:
        self.group_by = group_by
        self.groups: list[Group] = []
        self._place: dict[tuple[str | None, ...] | str | None, int] = {}
        for group in groups:
            self._add(tuple(value for _, value in group))

    def _add(self, values: tuple[str | None, ...]) -> int:
        named = tuple(UNKNOWN_VALUE if value is None else value for value in values)
        place = self._place.get(named)
        if place is None:
            place = self._place[named] = len(self.groups)
            self.groups.append(tuple(zip(self.group_by, named, strict=True)))
        self._place[values] = place
        if len(values) == 1:
            self._place[values[0]] = self._place[named[0]] = place
        return place

    def place(self, group: Group) -> int | None:
        """Where `group` stands, None when it was never seen."""
        return self._place.get(tuple(value for _, value in group))

    def places(self, events: Sequence[Event]) -> NDArray[np.int64]:
        """The place of each event's group; new groups are added."""
        known = self._place
        if len(self.group_by) == 1:
            column = self.group_by[0]
            values = [getattr(event, column) for event in events] if column != "agent" else [e.agent for e in events]
            for value in set(values):
                if value not in known:
                    self._add((value,))
            return np.fromiter(map(known.__getitem__, values), np.int64, len(values))
        keys = [tuple(getattr(event, column) for column in self.group_by) for event in events]
        for key in set(keys):
            if key not in known:
                self._add(key)
        return np.fromiter(map(known.__getitem__, keys), np.int64, len(keys))


@dataclass(slots=True)
class Rows:
    """Events of one kind that yield samples.

    Args:
        events: the events.
        ts: microseconds, one for each.
        start: when each event's task started, microseconds or ``UNKNOWN_START``.
    """

    events: list[Event]
    ts: Ints
    start: Ints
    _places: dict[tuple[str, ...], Ints] = field(default_factory=dict)
    _masks: dict[tuple[tuple[str, str], ...], NDArray[np.bool_]] = field(default_factory=dict)

    def places(self, grouping: Grouping) -> Ints:
        """The place of each row's group; worked out once."""
        places = self._places.get(grouping.group_by)
        if places is None:
            places = self._places[grouping.group_by] = grouping.places(self.events)
        return places

    def mask(self, where: tuple[tuple[str, str], ...]) -> NDArray[np.bool_]:
        """Which rows have those values in those columns; worked out once."""
        mask = self._masks.get(where)
        if mask is None:
            mask = np.fromiter((matches(event, where) for event in self.events), np.bool_, len(self.events))
            self._masks[where] = mask
        return mask


def matches(event: Event, where: tuple[tuple[str, str], ...]) -> bool:
    """Whether `event` has those values in those columns."""
    return all(getattr(event, column) == value for column, value in where)


@dataclass(slots=True)
class Samples:
    """The samples of one signal.

    Args:
        rows: where they come from.
        index: which row each comes from.
        count: how many samples each stands for (a test run stands for its tests; a late model call for none).
        amount: millionths of the unit; for a ratio signal the numerator.
    """

    rows: Rows
    index: NDArray[np.intp]
    count: Ints
    amount: Ints


def micro(values: Sequence[float | None]) -> tuple[NDArray[np.intp], Ints]:
    """The places of the known values, and those in millionths."""
    column = np.array(values, np.float64)
    known = np.flatnonzero(~np.isnan(column))
    return known, np.rint(column[known] * MICRO).astype(np.int64)


def duration_of(event: Event) -> float | None:
    """Seconds an attempt took: its own figure, else finish minus start."""
    if event.duration_s is not None:
        return event.duration_s
    if event.finished_at is not None and event.started_at is not None:
        return max(event.finished_at - event.started_at, 0.0)
    return None


def tokens_of(usage: Usage | None) -> int | None:
    """The tokens of a usage: its total, else what it went in and out."""
    if usage is None:
        return None
    if usage.total_tokens is not None:
        return usage.total_tokens
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


def finished_samples(rows: Rows) -> dict[str, Samples]:
    """The samples of attempts that ended, without their usage."""
    events = rows.events
    known, seconds = micro([e.duration_s if e.duration_s is not None else duration_of(e) for e in events])
    attempt_index, attempts = micro([e.attempt for e in events])
    statuses = [e.status for e in events]
    ended = np.array([status in ENDED for status in statuses], np.bool_)
    errors = np.array([status in ERRORS for status in statuses], np.int64) * MICRO
    ended_index = np.flatnonzero(ended)
    return {
        "task.duration_s": _each_once(rows, known, seconds),
        "task.attempts": _each_once(rows, attempt_index, attempts),
        "task.errors": _each_once(rows, ended_index, errors[ended_index]),
    }


def usage_samples(rows: Rows, tokens: Sequence[float | None], cost: Sequence[float | None]) -> dict[str, Samples]:
    """The samples of what attempts used, counted once a task."""
    token_index, token_amounts = micro(tokens)
    cost_index, cost_amounts = micro(cost)
    return {
        "task.tokens": _each_once(rows, token_index, token_amounts),
        "task.cost_usd": _each_once(rows, cost_index, cost_amounts),
    }


def test_samples(rows: Rows) -> dict[str, Samples]:
    """The samples of test runs: each test is one."""
    passed = np.array([e.passed or 0 for e in rows.events], np.int64)
    failed = np.array([e.failed or 0 for e in rows.events], np.int64)
    index = np.flatnonzero(passed + failed)
    return {"task.tests": Samples(rows, index, (passed + failed)[index], failed[index] * MICRO)}


def quality_samples(rows: Rows) -> dict[str, Samples]:
    """The samples of scores."""
    index, scores = micro([e.quality for e in rows.events])
    return {"task.quality": _each_once(rows, index, scores)}


def _each_once(rows: Rows, index: NDArray[np.intp], amount: Ints) -> Samples:
    return Samples(rows, index, np.ones(len(index), np.int64), amount)
