"""What telemetry hands to triggers: totals of panes, in columns, one element a group.

Amounts are ``int64`` in millionths of the signal's unit, so that sums are exact and their order does not matter. For a
ratio signal the amount is the numerator and the count the denominator: a ratio and a mean are the same division.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.clock import HOUR_US, SECOND_US
from self_healing.histograms import Histograms
from self_healing.model import Group
from self_healing.spec import PERCENT, Aggregate, Operator, RateOfChange, TriggerSpec

if TYPE_CHECKING:
    from self_healing.taps import Restart

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MICRO = 1_000_000
"""Amounts are whole millionths."""

FINE_US = 10 * SECOND_US
"""Length of the panes that windows are made of."""

COARSE_US = HOUR_US // 4
"""Length of the panes that baselines are made of."""

MOST = 2**62
"""The largest number of millionths that a limit can be: a column holds twice as much."""

LARGEST = 10**9
"""The largest figure that a line may give, in its unit: 31 years, as many tokens, as many dollars. A column holds the
sum of nine thousand of these, so no few wrong lines make a sum wrap around."""

NONE_MAX = np.iinfo(np.int64).min
"""The maximum over nothing."""

NONE_MIN = np.iinfo(np.int64).max
"""The minimum over nothing, and the start of the oldest running task where none runs."""


UNKNOWN_MAX = NONE_MIN
"""The maximum over samples of which some were kept without their extremes: whatever joins, it stays unknown."""

UNKNOWN_MIN = NONE_MAX
"""The minimum over the same."""

NOT_SILENT = 2**62
"""The last sign of life, in microseconds, of a group of which something was heard once and nothing is waited for."""

UNKNOWN_START = -1
"""The start of a task that nobody reported."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A signal over some events in some groups; triggers that measure the same share their panes.

    Args:
        most: how many of its groups are kept apart, in a grouping of its own; None where it has that of all measures
            that group so.
    """

    signal: str
    where: tuple[tuple[str, str], ...]
    group_by: tuple[str, ...]
    most: int | None = None

    @classmethod
    def of(cls, trigger: TriggerSpec) -> Measure:
        """What `trigger` measures."""
        return cls(trigger.signal, tuple(sorted(trigger.where.items())), trigger.group_by, trigger.max_series)

    @property
    def key(self) -> str:
        """A name for it that lasts, for the stored panes; no two measures share one, whatever their values hold."""
        limit = [] if self.most is None else [self.most]
        return msgspec.json.encode([self.signal, self.where, self.group_by, *limit]).decode()

    @property
    def grouped(self) -> Grouped:
        """What its grouping is known by."""
        return self.group_by if self.most is None else self

    @property
    def unlimited(self) -> Measure:
        """The same whatever the limit of its groups."""
        return replace(self, most=None)


Grouped = tuple[str, ...] | Measure
"""A grouping: the columns that many measures share one by, or the measure that has one of its own."""


@dataclass(slots=True)
class Totals:
    """The merged panes of a stretch of time, one element a group.

    Args:
        count: samples; the denominators of a ratio signal.
        amount: sum of the samples, in millionths; the numerators of a ratio signal.
        maximum: the largest sample, in millionths; ``NONE_MAX`` where there is none.
        minimum: the smallest sample, in millionths; ``NONE_MIN`` where there is none.
        histograms: of the samples; None where no quantile is asked of them.
    """

    count: Ints
    amount: Ints
    maximum: Ints
    minimum: Ints
    histograms: Histograms | None = field(default=None, kw_only=True)

    def at(self, places: Ints | list[int]) -> Totals:
        """The totals of the groups in those places only."""
        histograms = None if self.histograms is None else self.histograms.at(places)
        columns = (each[places] for each in (self.count, self.amount, self.maximum, self.minimum))
        return Totals(*columns, histograms=histograms)

    def quantile(self, percent: int) -> Floats:
        """The nearest rank of each group's samples, in millionths, within its extremes; NaN where there is none."""
        if self.histograms is None:
            raise ValueError("no quantile was asked of this window when its panes were made")
        return np.clip(self.histograms.quantile(percent), self.minimum, np.maximum(self.maximum, self.minimum))


def value_of(trigger: TriggerSpec, totals: Totals) -> Floats:
    """The value of each group's window, in the signal's unit; NaN where there is no sample."""
    with np.errstate(invalid="ignore", divide="ignore"):
        match trigger.aggregate:
            case Aggregate.COUNT:
                return totals.count.astype(np.float64)
            case Aggregate.RATE:
                return totals.count / trigger.window
            case Aggregate.SUM:
                value = totals.amount / MICRO
            case Aggregate.MEAN | Aggregate.RATIO:
                value = totals.amount / totals.count / MICRO
            case Aggregate.MAX:
                value = totals.maximum / MICRO
            case Aggregate.MIN:
                value = totals.minimum / MICRO
            case aggregate:
                value = totals.quantile(PERCENT[aggregate]) / MICRO
    value[totals.count == 0] = np.nan
    return value


def judged(trigger: TriggerSpec, totals: Totals) -> Totals:
    """The totals with the samples alone that the value of `trigger` can be told of.

    Panes may be older than the wish for a quantile or an extreme. Of a quantile, what lies in buckets can be told; of
    an extreme, nothing until the last such pane has left the window.
    """
    if trigger.aggregate in PERCENT:
        return totals if totals.histograms is None else replace(totals, count=totals.histograms.samples)
    if trigger.aggregate not in (Aggregate.MAX, Aggregate.MIN):
        return totals
    known = (totals.maximum != UNKNOWN_MAX) | (totals.minimum != UNKNOWN_MIN)
    return totals if known.all() else replace(totals, count=np.where(known, totals.count, 0))


def holds(trigger: TriggerSpec, totals: Totals, op: Operator, limit: float) -> Bools:
    """Whether each group's value stands in relation `op` to `limit`; exact, and False for a mean of nothing."""
    limit_us = whole(limit * MICRO)
    match trigger.aggregate:
        case Aggregate.COUNT:
            return compare(totals.count * MICRO, op, limit_us)
        case Aggregate.RATE:
            return compare(totals.count * MICRO, op, whole(limit * MICRO * trigger.window))
        case Aggregate.SUM:
            return compare(totals.amount, op, limit_us)
        case Aggregate.MEAN | Aggregate.RATIO:
            return mean_holds(totals, op, limit_us)
        case Aggregate.MAX:
            return compare(totals.maximum, op, limit_us)
        case Aggregate.MIN:
            return compare(totals.minimum, op, limit_us)
        case aggregate:
            return compare(totals.quantile(PERCENT[aggregate]), op, limit_us)


def add_running(totals: Totals, oldest_us: Ints, t_us: int) -> Totals:
    """`totals` of durations with the age of each group's oldest running task as one more sample."""
    runs = oldest_us != NONE_MIN
    if not runs.any():
        return totals
    # A task that says it starts in the future has no age yet.
    age_us = np.where(runs, np.maximum(t_us - oldest_us, 0), NONE_MAX)
    youngest_us = np.where(runs, age_us, NONE_MIN)
    return Totals(
        totals.count + runs, totals.amount, np.maximum(totals.maximum, age_us), np.minimum(totals.minimum, youngest_us)
    )


def change_of(trigger: TriggerSpec, condition: RateOfChange, value: Floats, before: Floats) -> Floats:
    """By how much each group's value changed from the window before, for each ``per``, in the signal's unit."""
    return (value - before) * (condition.per / trigger.window)


def change_holds(trigger: TriggerSpec, condition: RateOfChange, totals: Totals, before: Totals, limit: float) -> Bools:
    """Whether the change from the window before stands in relation to `limit`; exact in whole millionths."""
    # The limit on the difference itself: what is whole is then compared with what is whole.
    most = Fraction(round(limit * MICRO)) * trigger.window / condition.per
    if trigger.aggregate is Aggregate.RATE:
        most *= trigger.window
    up = condition.op in (Operator.GE, Operator.LT)
    whole_limit = np.int64(held(math.ceil(most) if up else math.floor(most)))
    return compare(_micros(trigger, totals) - _micros(trigger, before), condition.op, whole_limit)


def _micros(trigger: TriggerSpec, totals: Totals) -> Ints:
    """The value of each group's window in whole millionths, 0 where there is none; a rate counts as its count."""
    match trigger.aggregate:
        case Aggregate.COUNT | Aggregate.RATE:
            return totals.count * MICRO
        case Aggregate.SUM:
            return totals.amount
        case Aggregate.MEAN | Aggregate.RATIO:
            return np.rint(totals.amount / np.maximum(totals.count, 1)).astype(np.int64)
        case Aggregate.MAX:
            extreme = totals.maximum
        case Aggregate.MIN:
            extreme = totals.minimum
        case aggregate:
            extreme = np.rint(np.nan_to_num(totals.quantile(PERCENT[aggregate]))).astype(np.int64)
    return np.where(totals.count > 0, extreme, 0)


def held(total: int) -> int:
    """A sum of any size, kept within what a column can hold."""
    return max(min(total, MOST), -MOST)


def whole(micros: float) -> np.int64:
    """The nearest whole number of millionths, kept within what a column can hold."""
    return np.int64(held(round(micros)))


def mean_holds(totals: Totals, op: Operator, limit: np.int64 | Ints) -> Bools:
    """Whether each group's mean stands in relation `op` to `limit` millionths; exact, False for a mean of nothing."""
    some = totals.count > 0
    if int(np.max(np.abs(limit), initial=0)) * int(totals.count.max(initial=0)) <= MOST:
        return compare(totals.amount, op, totals.count * limit) & some
    # A limit times a count may not fit in a column, so divide; rounded to the side that changes no answer.
    count = np.maximum(totals.count, 1)
    mean = totals.amount // count if op in (Operator.GE, Operator.LT) else -(-totals.amount // count)
    return compare(mean, op, limit) & some


def compare(left: Ints | Floats, op: Operator, right: Ints | np.int64) -> Bools:
    """`left` `op` `right`, element by element."""
    match op:
        case Operator.GE:
            return np.greater_equal(left, right)
        case Operator.GT:
            return np.greater(left, right)
        case Operator.LE:
            return np.less_equal(left, right)
        case Operator.LT:
            return np.less(left, right)


def pane_us_of(window_us: int) -> int:
    """Length of the pane with which a window of that length begins: fine ones are kept for the last hour."""
    return FINE_US if window_us <= HOUR_US else COARSE_US


def successive_us(window_us: int, t_us: int) -> tuple[int, int, int]:
    """Where the earlier of two successive windows at `t_us` begins, the later one begins, and the later one ends."""
    end_us = t_us // FINE_US * FINE_US
    return end_us - 2 * window_us, end_us - window_us, end_us


def begins_us(window_us: int, t_us: int) -> int:
    """When a window of that length at `t_us` begins: where the pane does that holds ``t_us - window_us``."""
    pane_us = pane_us_of(window_us)
    return (t_us - window_us) // pane_us * pane_us


class Windows(Protocol):
    """The port through which triggers see telemetry. Arrays have one element a group, in the order of :meth:`groups`.

    An array that was given out is never changed afterwards; what is the same is best given out as the same object.
    """

    def groups(self, grouped: Grouped) -> Sequence[Group]:
        """The groups of a grouping that were seen so far; a group keeps its place."""
        ...

    def place(self, grouped: Grouped, group: Group) -> int | None:
        """Where `group` stands among them; None when it was never seen."""
        ...

    def window(self, measure: Measure, window_us: int, t_us: int) -> Totals:
        """The panes of a window of that length at `t_us`: from where it begins (:func:`begins_us`) up to `t_us`."""
        ...

    def baseline(self, measure: Measure, window_us: int, over_us: int, t_us: int) -> Totals:
        """The panes of the `over_us` before such a window; its extremes say nothing."""
        ...

    def successive(self, measure: Measure, window_us: int, t_us: int) -> tuple[Totals, Totals]:
        """Two windows of that length, the later one up to where the pane begins that holds `t_us`, and the one before.

        Both are made of whole panes: what is under way would make the later one longer than the one before.
        """
        ...

    def single(self, measure: Measure, places: Ints, from_us: Ints, until_us: Ints) -> tuple[Ints, Ints]:
        """Count and amount of single groups, each over a stretch of its own.

        Each begins with a 15-minute pane, and ends before the pane that holds its end.
        """
        ...

    def oldest_running(self, measure: Measure) -> Ints:
        """When the oldest running task of each group started, in microseconds; ``NONE_MIN`` where none runs."""
        ...

    def oldest_running_since(self, measure: Measure, group: int, since_us: int) -> int:
        """The same for the group in that place, of the tasks that started after `since_us` only."""
        ...

    def last_sign(self, measure: Measure) -> Ints:
        """The sign of life of each group that decides whether it is silent, microseconds; 0 where there is none.

        ``NOT_SILENT`` where something was heard once and nothing is waited for now.
        """
        ...

    def last_sign_since(self, measure: Measure, group: int, since_us: int) -> int:
        """The same for the group in that place, of the signs after `since_us` only."""
        ...

    def restarted(self, trigger: str, from_us: int) -> Mapping[int, Restart]:
        """The window of its own of each place whose window was restarted, where `from_us` still lies before that."""
        ...

    def first_sampled_us(self, measure: Measure, from_us: int) -> int | None:
        """When the oldest pane with a sample begins, from the one that holds `from_us` on; None when there is none."""
        ...

    def first_heard_us(self, measure: Measure, places: Ints, from_us: Ints, pane_us: int) -> Ints:
        """When the first pane with a sample of each of those groups begins, from the one on that holds its `from_us`.

        Args:
            pane_us: the length of the pane that windows begin with (:func:`pane_us_of`).

        Returns:
            Microseconds; 0 where there is none.
        """
        ...

    def next_lost_us(self) -> int | None:
        """When the next running task is lost, if nothing more is heard of it; None when none runs."""
        ...
