"""Boundary tests: every trigger, as it is declared, is tried just below, at and just above its own threshold.

They run on the real engine, over totals made for the purpose, whenever a spec is loaded; one that fails refuses the spec
(article II). So no trigger goes live that would not fire where its declaration says, recover, and bear missing data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from self_healing.measures import MICRO, NONE_MAX, NONE_MIN, Ints, Measure, Totals
from self_healing.model import Group, SeriesState
from self_healing.spec import Aggregate, Baseline, NoData, Operator, Spec, Threshold, TriggerSpec
from self_healing.triggers.framework import TriggerFramework

BASELINE = 1000.0
"""The mean of the baselines that are made, in the signal's unit."""

START_US = 1_000_000 * MICRO
RISING = {Operator.GE: 0, Operator.GT: 1, Operator.LE: 0, Operator.LT: -1}


@dataclass(slots=True)
class _Fixed:
    """Windows that show what a test puts there; one group."""

    totals: Totals
    before: Totals

    def groups(self, group_by: tuple[str, ...]) -> Sequence[Group]:
        return [tuple((column, "test") for column in group_by)]

    def place(self, group_by: tuple[str, ...], group: Group) -> int | None:
        return 0

    def window(self, measure: Measure, from_us: int, to_us: int) -> Totals:
        return self.totals

    def baseline(self, measure: Measure, from_us: int, until_us: int) -> Totals:
        return self.before

    def oldest_running(self, measure: Measure) -> Ints:
        return np.array([NONE_MIN], np.int64)

    def oldest_running_since(self, measure: Measure, group: int, since_us: int) -> int:
        return NONE_MIN

    def restarted(self, trigger: str, from_us: int, to_us: int) -> dict[int, tuple[int, Totals]]:
        return {}


def failures(spec: Spec) -> list[str]:
    """The boundary tests of `spec` that fail, each in one line; empty when all pass."""
    return [problem for trigger in spec.triggers for problem in _try(trigger)]


def _try(trigger: TriggerSpec) -> Iterator[str]:
    on = trigger.model_copy(update={"enabled": True})
    met, edge = _limit_steps(on)
    step = 1 if on.rising else -1
    for name, steps in (("just below", -step), ("at", 0), ("just above", step)):
        expected = (steps >= edge) if on.rising else (steps <= edge)
        fired = _Trial(on).fires(met + steps)
        if fired != expected:
            yield f"trigger {on.name}: {name} its threshold it {'fires' if fired else 'does not fire'}"
    fires_at = met + edge
    if on.min_samples > 1 and not _counts(on) and _Trial(on).fires(fires_at, on.min_samples - 1):
        yield f"trigger {on.name}: it fires on {on.min_samples - 1} samples, fewer than min_samples"
    if not _Trial(on).recovers(fires_at, _cleared(on)):
        yield f"trigger {on.name}: it does not recover where `clear` is met"
    if not _counts(on) and _Trial(on).after_silence(fires_at) is not _SILENT[on.no_data]:
        yield f"trigger {on.name}: missing data does not do what no_data = {on.no_data.value} says"


_SILENT = {
    NoData.KEEP: SeriesState.FIRING,
    NoData.CLEAR: SeriesState.RECOVERING,
    NoData.FIRE: SeriesState.FIRING,
}


def _counts(trigger: TriggerSpec) -> bool:
    return trigger.aggregate in (Aggregate.COUNT, Aggregate.RATE)


def _limit_steps(trigger: TriggerSpec) -> tuple[int, int]:
    """The threshold in the smallest steps of its aggregate, and where from there the condition begins to hold."""
    match trigger.condition:
        case Threshold() as condition:
            return _in_steps(trigger, condition.value, condition.op)
        case Baseline() as condition:
            return round(BASELINE * condition.ratio * MICRO), 0


def _in_steps(trigger: TriggerSpec, value: float, op: Operator) -> tuple[int, int]:
    if not _counts(trigger):
        return round(value * MICRO), RISING[op]
    exact = value * (trigger.window if trigger.aggregate is Aggregate.RATE else 1)
    whole = round(exact)
    if abs(exact - whole) < 1 / MICRO:
        return whole, RISING[op]
    # Between two counts there is no "at": the next one on the firing side takes its place.
    return (int(np.ceil(exact)), 0) if op in (Operator.GE, Operator.GT) else (int(np.floor(exact)), 0)


def _cleared(trigger: TriggerSpec) -> int:
    """The first value, in steps, at which the trigger recovers."""
    match trigger.condition:
        case Threshold() as condition:
            clear = condition.value if trigger.clear is None else trigger.clear
            edge, first = _in_steps(trigger, clear, condition.op)
            return edge + first + (-1 if trigger.rising else 1)
        case Baseline():
            return _limit_steps(trigger)[0] - 1


class _Trial:
    """One trigger on the engine, with one series."""

    def __init__(self, trigger: TriggerSpec) -> None:
        self.trigger = trigger
        before = trigger.condition.min_samples if isinstance(trigger.condition, Baseline) else 0
        self.windows = _Fixed(_nothing(), _totals(before, round(BASELINE * MICRO) * before, 0))
        self.engine = TriggerFramework(Spec(triggers=(trigger,), actions=()), self.windows)
        self.t_us = START_US

    def state(self) -> SeriesState:
        group = self.windows.groups(self.trigger.group_by)[0]
        return self.engine.state_of(self.trigger.name, group)

    def show(self, steps: int, samples: int | None = None) -> None:
        """Let the window show a value, in steps, for as long as `for` asks."""
        self.windows.totals = _window(self.trigger, steps, self.trigger.min_samples if samples is None else samples)
        self.engine.evaluate(self.t_us)
        self.t_us += max(self.trigger.for_s, 1) * MICRO
        self.engine.evaluate(self.t_us)

    def fires(self, steps: int, samples: int | None = None) -> bool:
        self.show(steps, samples)
        return self.state() is SeriesState.FIRING

    def recovers(self, firing: int, cleared: int) -> bool:
        self.show(firing)
        self.windows.totals = _window(self.trigger, cleared, self.trigger.min_samples)
        self.t_us += MICRO
        self.engine.evaluate(self.t_us)
        recovering = self.state() is SeriesState.RECOVERING
        self.t_us += max(self.trigger.keep_firing_for, 1) * MICRO
        self.engine.evaluate(self.t_us)
        return recovering and self.state() is SeriesState.INACTIVE

    def after_silence(self, firing: int) -> SeriesState:
        self.show(firing)
        self.windows.totals = _nothing()
        self.t_us += MICRO
        self.engine.evaluate(self.t_us)
        return self.state()


def _window(trigger: TriggerSpec, steps: int, samples: int) -> Totals:
    """A window of so many samples whose value is `steps` of the smallest steps of the aggregate."""
    match trigger.aggregate:
        case Aggregate.COUNT | Aggregate.RATE:
            return _totals(max(steps, 0), 0, 0)
        case Aggregate.MEAN | Aggregate.RATIO:
            return _totals(samples, steps * samples, steps)
        case Aggregate.SUM:
            return _totals(samples, steps, steps)
        case Aggregate.MAX | Aggregate.MIN:
            return _totals(samples, steps * samples, steps)


def _totals(count: int, amount: int, extreme: int) -> Totals:
    return Totals(*(np.array([value], np.int64) for value in (count, amount, extreme, extreme)))


def _nothing() -> Totals:
    return Totals(*(np.array([value], np.int64) for value in (0, 0, NONE_MAX, NONE_MIN)))
