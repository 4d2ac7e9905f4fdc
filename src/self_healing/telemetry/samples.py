"""Events become samples: which event measures which signal, by how much, in which group.

Rows are gathered by kind, so that a column is read only from the events that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import SECOND_US
from self_healing.measures import LARGEST, MICRO, NONE_MAX, NONE_MIN, UNKNOWN_START, Floats, Ints
from self_healing.model import Event, Usage
from self_healing.telemetry.columns import getter
from self_healing.telemetry.groups import BY_AGENT, Grouping


@dataclass(slots=True)
class Gathered:
    """Events of one kind while they are gathered, one element each in every list.

    Args:
        events: the events.
        ts: microseconds.
        started_at: when the task started, seconds since 1970, None where nobody knows; empty when nobody asks.
        place: of the agent, in the grouping by it.
    """

    events: list[Event] = field(default_factory=list)
    ts: list[int] = field(default_factory=list)
    started_at: list[float | None] = field(default_factory=list)
    place: list[int] = field(default_factory=list)

    def rows(self) -> Rows:
        """The same, in columns."""
        return Rows(self.events, _ints(self.ts), self.started_at, _places={BY_AGENT: _ints(self.place)})


@dataclass(slots=True)
class Rows:
    """Events of one kind that yield samples.

    Args:
        events: the events.
        ts: microseconds, one for each.
        started_at: when each event's task started, seconds since 1970; None where nobody knows, empty where of none.
        heard: when each was heard of, microseconds, where that was later; None where it was not.
    """

    events: list[Event]
    ts: Ints
    started_at: Sequence[float | None] = ()
    heard: Ints | None = None
    _places: dict[tuple[str, ...], Ints] = field(default_factory=dict)
    _masks: dict[tuple[tuple[str, str], ...], NDArray[np.bool_]] = field(default_factory=dict)

    def start_us(self, row: int) -> int:
        """When the task of a row started, microseconds or ``UNKNOWN_START``."""
        started_at = self.started_at[row] if self.started_at else None
        return UNKNOWN_START if started_at is None else round(started_at * SECOND_US)

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
    return all(getter(column)(event) == value for column, value in where)


@dataclass(slots=True)
class Spread:
    """How what samples stand for is spread, where a sample is many measurements that its sender put together.

    Args:
        low, high: the smallest and the largest measurement of each sample, in millionths.
        of: of each filled bucket, the place of the sample that it is of.
        codes: of the buckets.
        counts: how many measurements are in each.
    """

    low: Ints
    high: Ints
    of: NDArray[np.intp]
    codes: Ints
    counts: Ints

    def where(self, kept: NDArray[np.bool_]) -> Spread:
        """Those samples only."""
        filled = kept[self.of]
        places = np.cumsum(kept) - 1
        return Spread(self.low[kept], self.high[kept], places[self.of[filled]], self.codes[filled], self.counts[filled])


@dataclass(slots=True)
class Samples:
    """The samples of one signal.

    Args:
        rows: where they come from.
        index: which row each comes from.
        count: how many samples each stands for (a test run stands for its tests; a late model call for none).
        amount: millionths of the unit; for a ratio signal the numerator.
        spread: where a sample is more than one amount; None where each is one.
    """

    rows: Rows
    index: NDArray[np.intp]
    count: Ints
    amount: Ints
    spread: Spread | None = None


@dataclass(slots=True)
class Joining:
    """Samples on their way into the panes of one measure; columns as those of :class:`Samples`.

    Args:
        at: which row each comes from.
        places: of their groups.
    """

    rows: Rows
    at: NDArray[np.intp]
    places: Ints
    count: Ints
    amount: Ints
    spread: Spread | None = None

    @property
    def heard_us(self) -> Ints:
        """When each was heard of, microseconds: when it was, but for what came late."""
        return self.ts if self.rows.heard is None else self.rows.heard[self.at]

    @property
    def ts(self) -> Ints:
        """When each was, microseconds."""
        return self.rows.ts[self.at]

    @property
    def extremes(self) -> tuple[Ints, Ints]:
        """The largest and the smallest measurement of each; nothing for one that adds to the sum alone."""
        high, low = (self.amount, self.amount) if self.spread is None else (self.spread.high, self.spread.low)
        return np.where(self.count > 0, high, NONE_MAX), np.where(self.count > 0, low, NONE_MIN)

    def between(self, start: int, end: int) -> Joining:
        """Some of them, by their number."""
        part = slice(start, end)
        spread = None
        if self.spread is not None:
            chosen = np.zeros(len(self.at), np.bool_)
            chosen[part] = True
            spread = self.spread.where(chosen)
        return Joining(self.rows, self.at[part], self.places[part], self.count[part], self.amount[part], spread)


def _ints(values: Sequence[int]) -> Ints:
    return np.fromiter(values, np.int64, len(values))


def amounts_of(rows: Rows, values: Sequence[float | None]) -> Samples:
    """One sample for each value that is known, in millionths."""
    return _amounts(rows, _floats(values))


def _amounts(rows: Rows, values: Floats) -> Samples:
    amounts = values * MICRO
    known = np.flatnonzero(~np.isnan(amounts))
    return _each_once(rows, known, np.rint(np.minimum(amounts[known], LARGEST * MICRO)).astype(np.int64))


def _floats(values: Sequence[float | None]) -> Floats:
    try:
        return np.fromiter(values, np.float64, len(values))
    except TypeError:  # some are None; to try is twice as quick as to allow for it
        return np.array(values, np.float64)


def errors_of(rows: Rows, statuses: Sequence[str | None]) -> Samples:
    """One sample for each that ended well or badly; what did neither is left out."""
    return _errors(rows, _endings(statuses))


def _errors(rows: Rows, endings: Ints) -> Samples:
    counted = np.flatnonzero(endings != _UNCOUNTED)
    return _each_once(rows, counted, (endings[counted] == _ERROR) * MICRO)


def _endings(statuses: Sequence[str | None]) -> Ints:
    return _ints([_ENDINGS.get(status, _UNCOUNTED) for status in statuses])


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


@dataclass(slots=True)
class Finished(Gathered):
    """Attempts that ended; None is unknown.

    Args:
        agent: under which name each one's is kept.
    """

    agent: list[str | None] = field(default_factory=list)
    duration_s: list[float | None] = field(default_factory=list)
    attempt: list[int | None] = field(default_factory=list)
    status: list[str | None] = field(default_factory=list)
    tokens: list[int | None] = field(default_factory=list)
    cost_usd: list[float | None] = field(default_factory=list)
    _figures: tuple[Floats, Floats, Floats, Floats] | None = None
    _endings: Ints | None = None

    def figures(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Durations, attempts, tokens and costs in columns, NaN where unknown; worked out once all are gathered."""
        if self._figures is None:
            durations, costs = _floats(self.duration_s), _floats(self.cost_usd)
            self._figures = durations, _floats(self.attempt), _floats(self.tokens), costs
        return self._figures

    def failed(self) -> NDArray[np.bool_]:
        """Which of them ended badly."""
        return np.equal(self._ended(), _ERROR)

    def _ended(self) -> Ints:
        if self._endings is None:
            self._endings = _endings(self.status)
        return self._endings

    def samples(self) -> dict[str, Samples]:
        """The samples by signal; usage is counted once a task."""
        rows, (durations, attempts, tokens, costs) = self.rows(), self.figures()
        return {
            "task.duration_s": _amounts(rows, durations),
            "task.attempts": _amounts(rows, attempts),
            "task.errors": _errors(rows, self._ended()),
            "task.tokens": _amounts(rows, tokens),
            "task.cost_usd": _amounts(rows, costs),
        }


_UNCOUNTED, _GOOD, _ERROR = range(3)
_ENDINGS: dict[str | None, int] = {"success": _GOOD, "failed": _ERROR, "timeout": _ERROR}
"""What the ratio of errors makes of a status; any other, canceled among them, is left out of it."""


@dataclass(slots=True)
class Tests(Gathered):
    """Test runs."""

    passed: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def samples(self) -> dict[str, Samples]:
        """The samples by signal: each test is one."""
        passed, failed = _ints(self.passed), _ints(self.failed)
        index = np.flatnonzero(passed + failed)
        return {"task.tests": Samples(self.rows(), index, (passed + failed)[index], failed[index] * MICRO)}


@dataclass(slots=True)
class Scores(Gathered):
    """Scores of results."""

    def samples(self) -> dict[str, Samples]:
        """The samples by signal."""
        return {"task.quality": amounts_of(self.rows(), [event.quality for event in self.events])}


@dataclass(slots=True)
class Late(Gathered):
    """Model calls whose tasks had already ended; the events are the ends of the tasks. None is unknown."""

    heard_us: list[int] = field(default_factory=list)  # when the calls were made, which is after the ends of the tasks
    tokens: list[int | None] = field(default_factory=list)
    cost_usd: list[float | None] = field(default_factory=list)
    first_tokens: list[bool] = field(default_factory=list)  # whether nothing was known of the task's tokens before
    first_cost_usd: list[bool] = field(default_factory=list)

    def samples(self) -> dict[str, Samples]:
        """The samples by signal.

        A task was counted when it ended, with what was known then: each late call adds to the sum alone, except where
        it is the first to say anything at all.
        """
        rows = self.rows()
        rows.heard = _ints(self.heard_us)
        tokens, cost = amounts_of(rows, self.tokens), amounts_of(rows, self.cost_usd)
        tokens.count = _ints(self.first_tokens)[tokens.index]
        cost.count = _ints(self.first_cost_usd)[cost.index]
        return {"task.tokens": tokens, "task.cost_usd": cost}


@dataclass(slots=True)
class Retries(Gathered):
    """Tasks that had ended before it was known how many attempts they took; None is unknown."""

    before: list[int | None] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)

    def samples(self) -> dict[str, Samples]:
        """The samples by signal: what was counted is taken back, and what is known now is counted."""
        rows = self.rows()
        wrong, right = amounts_of(rows, self.before), amounts_of(rows, self.attempts)
        index = np.concatenate([wrong.index, right.index])
        count = np.concatenate([-wrong.count, right.count])
        return {"task.attempts": Samples(rows, index, count, np.concatenate([-wrong.amount, right.amount]))}


def _each_once(rows: Rows, index: NDArray[np.intp], amount: Ints) -> Samples:
    return Samples(rows, index, np.ones(len(index), np.int64), amount)
